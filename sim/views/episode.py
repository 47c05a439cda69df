"""An episode as people read it: thought, action, grounding, reward, value, what was recalled."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from rich.console import Group, RenderableType
from rich.table import Table

from agents.making import AgentMemory
from engine.errors import ConfigError
from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    HandlerFailed,
    Message,
    ModelFailed,
    PlanMade,
    PlanRequested,
    ReflectionWritten,
    StateValued,
    UserResponded,
)
from engine.text import counted
from sim.views.columns import Column, Fitted

M = TypeVar("M")

_UNKNOWN = "(its text is in the run's memory, which is not here)"

Texts: TypeAlias = Callable[[AgentMemory[Any], Collection[int]], Mapping[int, str]]
"""Returns what the records of a memory say at some positions, as far as that is known."""


def _no_texts(_: AgentMemory[Any], __: Collection[int]) -> Mapping[int, str]:
    return {}


@dataclass(frozen=True)
class Remembered:
    """The *memories* of a run's agent, and what reads the *texts* of their records.

    *unknown* says why it is not known what they are, if it is not.
    """

    memories: Sequence[AgentMemory[Any]] = ()
    texts: Texts = _no_texts
    unknown: str = ""

    def recalled(self, message: Message) -> Iterator[tuple[str, str]]:
        """Yield what was recalled before *message* was made: of what kind it is, and its text."""
        for memory in self.memories:
            _, found = memory.asked(message) or (0, ())
            texts = self.texts(memory, [one.position for one in found]) if found else {}
            for one in found:
                text = texts.get(one.position, _UNKNOWN)
                said = f"{text} [episode {one.episode}, distance {one.distance:g}]"
                yield memory.payload.__name__.lower(), said


@dataclass(frozen=True)
class Shown:
    """The envelopes of an episode, and the memories it recalled from.

    Of one that has not ended also the calls whose reply it *awaits*.
    """

    envelopes: Sequence[Envelope[Message]]
    remembered: Remembered
    awaits: Sequence[ModelFailed] = ()

    def all(self, kind: type[M]) -> list[M]:
        """Return the messages of a type, in canonical order."""
        return [e.message for e in self.envelopes if isinstance(e.message, kind)]

    def at(self, kind: type[M], step: int) -> M | None:
        """Return the message of a type at *step*, if there is one."""
        having = (m for m in self.all(kind) if getattr(m, "step", getattr(m, "state", -1)) == step)
        return next(having, None)

    @property
    def started(self) -> EpisodeStarted:
        """How the episode began."""
        return self.all(EpisodeStarted)[0]

    @property
    def steps(self) -> list[int]:
        """Its steps, also one at which nothing was recommended."""
        asked = {message.step for message in self.all(PlanRequested)}
        return sorted(asked | {message.step for message in self.all(ActionTaken)})


def episode_page(shown: Shown) -> Group:
    """Return the page of a whole episode: a line for each step."""
    return Group(*_opening(shown), Fitted(_columns(shown)), "", *_ending(shown))


def _columns(shown: Shown) -> list[Column]:
    rows = [_row(shown, step) for step in shown.steps]
    step, item, grounding, reward, left, value, gain = (
        zip(*rows, strict=True) if rows else ((),) * 7
    )
    return [
        Column("step", step),
        Column("item", item, words=True, folds=True),
        Column("grounding", grounding, words=True, worth=3, told_once=True),
        Column("reward", reward),
        Column("value", value, worth=2),
        Column("advantage", gain, worth=1),
        Column("left", left, words=True),
    ]


def _row(shown: Shown, step: int) -> tuple[str, ...]:
    action, response = shown.at(ActionTaken, step), shown.at(UserResponded, step)
    value, gain = shown.at(StateValued, step), shown.at(AdvantageEstimated, step)
    return (
        str(step),
        action.title if action else "",
        _grounding(action) if action else "",
        f"{response.reward:.2f}" if response else "",
        response.reason or "yes" if response and response.left else "",
        f"{value.value:g}" if value else "",
        f"{gain.advantage:+.2f}" if gain else "",
    )


def _reward(response: UserResponded) -> str:
    return f"{response.reward:.2f}" + (f", left ({response.reason})" if response.left else "")


def _grounding(action: ActionTaken) -> str:
    return (
        action.grounding if action.distance == 0 else f"{action.grounding}, {action.distance:g} off"
    )


def _opening(shown: Shown) -> Iterator[RenderableType]:
    started = shown.started
    number = shown.envelopes[0].episode
    yield (
        f"Episode {number}: user {started.user}, session {started.session}, "
        f"arrived at {started.arrival / 1000:,.1f} s"
    )
    lengths = ", ".join(f"{seen.length:,} of {seen.memory}" for seen in started.memories)
    if lengths:  # an imported run tells of neither
        yield f"memory: {lengths} records"
    history = "; ".join(f"{rated.title} ({rated.rating:g})" for rated in started.history)
    yield f"history: {history}\n" if history else ""
    if shown.remembered.unknown:
        yield f"What was recalled is not shown: {shown.remembered.unknown}.\n"


def _ending(shown: Shown) -> Iterator[str]:
    for ended in shown.all(EpisodeEnded):
        how = "the user left" if ended.reason == "quit" else "stayed to the limit"
        yield f"End: {how} after {counted(ended.length, 'step')}, sum of rewards {ended.reward:g}."
    yield from _why_left(shown)
    for written in shown.all(ReflectionWritten):
        yield f"Reflection: {written.text}"
    for call in shown.all(ModelFailed):
        yield f"The {call.role}'s call at step {call.step} failed: {call.error}."
    for failed in shown.all(HandlerFailed):
        yield f"{failed.handler} raised {failed.error}."
    for lost in shown.all(EpisodeFailed):
        yield f"The episode failed: {lost.why}. Nothing of it is remembered."
    yield from _awaited(shown)


def _why_left(shown: Shown) -> Iterator[str]:
    """Tell what a quit rule went by, if the trace says it."""
    for response in shown.all(UserResponded):
        told = response.evidence
        if told is None:
            continue
        near = next((a for a in shown.all(ActionTaken) if a.item == told.item), None)
        like = f" to {near.title} at step {near.step}" if near else ""
        yield (
            f"Why: {response.reason}, by the rule {told.rule}: "
            f"{told.measure:.4g}{like}, bound {told.bound:.4g}."
        )


def step_page(shown: Shown, step: int) -> Group:
    """Return the page of one step; raises ConfigError if the episode has no such step."""
    if step not in shown.steps:
        hint = f"it has the steps 0 to {shown.steps[-1]}" if shown.steps else "it has no step"
        raise ConfigError(f"the episode has no step {step}", hint=hint)
    table = details_table()
    for name, text in _details(shown, step):
        table.add_row(name, text)
    return Group(*_opening(shown), table, *_awaited(shown, step))


def details_table() -> Table:
    """Return the empty table of a step: what it is, and in full what was said."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    return table


def _awaited(shown: Shown, step: int | None = None) -> Iterator[str]:
    for call in shown.awaits:
        if step is None or call.step in {step, step + 1}:
            yield f"The {call.role}'s call at step {call.step} has no reply yet."


def _details(shown: Shown, step: int) -> Iterator[tuple[str, str]]:
    plan = shown.at(PlanMade, step)
    if plan is not None:
        yield from _recalled(shown, plan)
        yield "thought", plan.thought
    action = shown.at(ActionTaken, step)
    if action is not None:
        yield from _acted(shown, action)
    response = shown.at(UserResponded, step)
    if response is not None:
        yield "reward", _reward(response)
    for state, name in ((step, "value before"), (step + 1, "value after")):
        value = shown.at(StateValued, state)
        if value is not None:
            yield from _recalled(shown, value)
            yield name, f"{value.value:g}"
    gain = shown.at(AdvantageEstimated, step)
    if gain is not None:
        yield "advantage", f"{gain.advantage:+g}"


def _acted(shown: Shown, action: ActionTaken) -> Iterator[tuple[str, str]]:
    for result in action.tools:
        yield f"tool: {result.tool}", result.text or "–"
    yield from _recalled(shown, action)
    yield "words", action.words
    yield "action", f"{action.title} (item {action.item}, {_grounding(action)})"


def _recalled(shown: Shown, message: Message) -> Iterator[tuple[str, str]]:
    for kind, text in shown.remembered.recalled(message):
        yield f"recalled {kind}", text
