"""What the plays of an episode say of its causes: paired differences, and which to look at first.

The effect of a cause is the mean, over draws with common random numbers, of R_traj with the cause
drawn anew, or left out, less R_traj with it kept; what comes after it is drawn anew in both. So the
luck of what followed is in neither. Of decisions these effects are −A, what a decision was worth
beyond what was expected before it: over an episode they add up to what was expected at first, less
what came.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import fsum, inf
from typing import NamedTuple

import msgspec

from engine.messages import number
from sim.analysis.seeds import t_interval, t_p
from sim.analysis.statistics import holm
from sim.experiments.blame.causes import Cause
from sim.experiments.blame.replays import NEVER, UNKNOWN, Arm, Outcome, Split

Outcomes = Mapping[tuple[Arm, int], Outcome]
"""What came of each arm under each draw, by number."""


class Contrast(NamedTuple):
    """A cause, the arm in which it is drawn anew or left out, and the one in which it is kept."""

    cause: Cause
    changed: Arm
    kept: Arm


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """How much better the episode would have gone without a *cause*: to blame is what is above 0.

    It is a mean of so many *draws*, with its interval of 95 % (None if there are too few). A cause
    that was *leading* when all were looked at has fresh draws, free of that choice, and *p*, of a t
    test, adjusted for as many as were leading (Holm). It is *tied* if it is not shown to do less
    harm than what stands first. *calls* were made for its own arm.
    """

    cause: Cause
    effect: float | None
    low: float | None
    high: float | None
    draws: int
    leading: bool = False
    p: float | None = None
    tied: bool = False
    calls: int = 0


def decisions(causes: Sequence[Cause]) -> list[Contrast]:
    """Return the contrasts of *causes* that are decisions, in order: each keeps those before it."""
    thoughtful = {cause.step for cause in causes if cause.kind == "thought"}
    splits = [
        Split(cause.step, cause.kind == "recommendation" and cause.step in thoughtful)
        for cause in causes
    ]
    after = [*splits[1:], NEVER]
    return [
        Contrast(cause, Arm(split), Arm(following))
        for cause, split, following in zip(causes, splits, after, strict=True)
    ]


def left_out(cause: Cause, parting: Split) -> Contrast:
    """Return the contrast of a record, which matters from its *parting* on."""
    record = cause.memory, cause.position or 0
    return Contrast(cause, Arm(parting, record), Arm(parting))


def differences(contrast: Contrast, outcomes: Outcomes, draws: Iterable[int]) -> list[float]:
    """Return by how much R_traj was better under each of *draws*; failed plays are left out."""
    found = (_difference(contrast, outcomes, draw) for draw in draws)
    return [one for one in found if one is not None]


def leads(
    first: Contrast, second: Contrast, outcomes: Outcomes, draws: Iterable[int]
) -> list[float]:
    """Return by how much the difference of *first* was larger, where both are known."""
    both = (
        (_difference(first, outcomes, draw), _difference(second, outcomes, draw)) for draw in draws
    )
    return [more - less for more, less in both if more is not None and less is not None]


def _difference(contrast: Contrast, outcomes: Outcomes, draw: int) -> float | None:
    if contrast.changed.split == NEVER:
        return 0.0
    changed = outcomes.get((contrast.changed, draw), UNKNOWN).reward
    kept = outcomes.get((contrast.kept, draw), UNKNOWN).reward
    return None if changed is None or kept is None else changed - kept


def effect_of(contrast: Contrast, outcomes: Outcomes, draws: range, *, leading: bool) -> Effect:
    """Return the effect of a cause by *draws*; its *p* is not adjusted yet."""
    found = differences(contrast, outcomes, draws)
    interval = t_interval(found) if found else None
    calls = sum(one.calls for (arm, _), one in outcomes.items() if arm == contrast.changed)
    return Effect(
        cause=contrast.cause,
        effect=number(fsum(found) / len(found)) if found else None,
        low=None if interval is None else number(interval.low),
        high=None if interval is None else number(interval.high),
        draws=len(found),
        leading=leading,
        p=t_p(found) if leading and found else None,
        calls=calls,
    )


def ranked(effects: Iterable[Effect]) -> list[Effect]:
    """Return *effects*, what is most to blame first."""
    return sorted(effects, key=lambda one: -standing(one))


def standing(one: Effect) -> float:
    """Return by what causes are compared: the effect, and of nothing known the least there is."""
    return -inf if one.effect is None else one.effect


def adjusted(effects: Sequence[Effect]) -> list[Effect]:
    """Return *effects* with their p adjusted for being several (Holm)."""
    known = [one.p for one in effects if one.p is not None]
    if not known:
        return [*effects]
    found = iter(holm(known).tolist())
    return [
        one if one.p is None else msgspec.structs.replace(one, p=number(next(found)))
        for one in effects
    ]
