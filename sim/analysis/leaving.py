"""Why a visit ended, as it can be seen: the last items, how near each is to the last one, β."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from engine.messages import Evidence, Setting, UserResponded
from sim.analysis.steps import StepTold, Told
from storage.environments import Environment

Measure: TypeAlias = Literal["likeness", "reward", "other", "nothing"]
"""What the evidence is of: *other* is a measure that a rule gives without more."""

_WINDOW = 10  # items, where the run does not say how many count


class Near(msgspec.Struct, frozen=True, kw_only=True):
    """One of the last items, and its *distance* to the last of them; None where that is unknown.

    *blamed* is the one that the rule named.
    """

    step: int
    item: int
    title: str
    categories: tuple[str, ...]
    distance: float | None
    blamed: bool


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """How a visit ended at *step*, and what the quit rule went by.

    *sentence* says it; *measure* lay beyond *bound*. *window* are the last items before the one at
    which the user left, oldest first, and *beta* the distance below which items are alike.
    *shared* counts the categories of the last item in the window. *unknown* says why there are no
    distances, if there are none.
    """

    step: int
    title: str
    reason: str
    rule: str
    of: Measure
    sentence: str
    measure: float | None
    bound: float | None
    window: tuple[Near, ...]
    beta: float | None
    shared: tuple[tuple[str, int], ...]
    unknown: str


def leaving(
    told: Told,
    settings: Mapping[str, Setting],
    world: Environment | None,
    unknown: str,
) -> Leaving | None:
    """Return why an episode ended; None if nothing was recommended in it.

    *settings* are those of the head of the trace. Without a *world* (*unknown* says why not) only
    what the trace itself tells.
    """
    shown = [step for step in told.steps if step.item is not None]
    if not shown:
        return None
    last = shown[-1]
    response = next((c.message for c in last.cards if isinstance(c.message, UserResponded)), None)
    evidence = response.evidence if response else None
    recent = shown[-1 - _window(settings, evidence) : -1]
    window = tuple(_near(step, last, evidence, world) for step in recent)
    near = _measure(evidence) == "likeness"
    return Leaving(
        step=last.step,
        title=last.title,
        reason=_reason(last, told),
        rule=evidence.rule if evidence else "",
        of=_measure(evidence),
        sentence=_sentence(last, evidence, shown, told),
        measure=evidence.measure if evidence else None,
        bound=evidence.bound if evidence else None,
        window=window,
        beta=evidence.bound if evidence and near else (world.factors.beta if world else None),
        shared=_shared(last, recent),
        unknown="" if world else unknown,
    )


def _window(settings: Mapping[str, Setting], evidence: Evidence | None) -> int:
    """Return how many items count: as the rule is set, by itself or as one of several."""
    names = ["quit.window"]
    if evidence is not None:
        table = evidence.rule.rpartition(":")[2].rpartition(".")[2]
        names.insert(0, f"quit.{table}.window")
    found = next((settings[name] for name in names if name in settings), None)
    return found if isinstance(found, int) else _WINDOW


def _near(
    step: StepTold, last: StepTold, evidence: Evidence | None, world: Environment | None
) -> Near:
    item, other = step.item or 0, last.item or 0
    known = world is not None and 0 <= min(item, other) <= max(item, other) < len(world.catalog)
    return Near(
        step=step.step,
        item=item,
        title=step.title,
        categories=step.categories,
        distance=world.factors.distance(item, other) if world and known else None,
        blamed=evidence is not None and evidence.item == item,
    )


def _measure(evidence: Evidence | None) -> Measure:
    if evidence is None:
        return "nothing"
    if evidence.item is not None:
        return "likeness"
    # The rewards of rules that tell of none are not below a bound.
    return "reward" if evidence.measure < evidence.bound else "other"


def _reason(last: StepTold, told: Told) -> str:
    if last.left:
        return last.reason or "left"
    ended = any(card.kind == "ended" for card in told.closing)
    return "limit" if ended else ""


def _sentence(
    last: StepTold, evidence: Evidence | None, shown: Sequence[StepTold], told: Told
) -> str:
    if not last.left:
        ended = any(card.kind == "ended" for card in told.closing)
        return "Nothing made the user leave: the limit cut the visit short." if ended else ""
    match _measure(evidence), evidence:
        case "likeness", Evidence() as said:
            near = [step for step in shown[:-1] if step.item == said.item]
            where = f"“{near[-1].title}” of step {near[-1].step}" if near else f"item {said.item}"
            return (
                f"“{last.title}” is {said.measure:.3g} from {where}, "
                f"nearer than {said.bound:.3g}: too much alike."
            )
        case "reward", Evidence() as said:
            return (
                f"“{last.title}” gave a reward of {said.measure:.3g}, "
                f"below the {said.bound:.3g} that this user puts up with."
            )
        case "other", Evidence() as said:
            return (
                f"By the rule {said.rule} at “{last.title}”: "
                f"a measure of {said.measure:.4g}, beyond {said.bound:.4g}."
            )
    return f"The user left at “{last.title}”. The trace does not tell what the rule went by."


def _shared(last: StepTold, recent: Sequence[StepTold]) -> tuple[tuple[str, int], ...]:
    met = Counter(name for step in recent for name in step.categories)
    return tuple((name, met[name]) for name in last.categories)
