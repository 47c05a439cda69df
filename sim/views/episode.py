"""An episode as people read it: thought, action, grounding, reward, value, what was recalled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Group, RenderableType
from rich.table import Table

from agents.billp.memories import EXPERIENCES, REFLECTIONS, VALUATIONS
from engine.errors import ConfigError, FileError
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
    Recalled,
    ReflectionWritten,
    StateValued,
    UserResponded,
)
from engine.records import MemoryName
from sim.analysis.memory.saved import Saved

M = TypeVar("M")


@dataclass(frozen=True)
class Remembered:
    """The memories of a run by position; empty where the run did not come to its end."""

    directory: Path

    def says(self, memory: MemoryName[Any], positions: Sequence[int]) -> list[str]:
        """Return what the records at *positions* of *memory* say."""
        try:
            found = Saved(self.directory, memory).at(positions)
        except FileError:
            return ["(its text is in the run's memory once the run is finished)"] * len(positions)
        return [found[position].says for position in positions]


@dataclass(frozen=True)
class Shown:
    """The envelopes of an episode, and the memories it recalled from."""

    envelopes: Sequence[Envelope[Message]]
    remembered: Remembered

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
    def length(self) -> int:
        """How many steps it has."""
        return len(self.all(ActionTaken))


def episode_page(shown: Shown) -> Group:
    """Return the page of a whole episode: a line for each step."""
    table = Table()
    for name in ("step", "item", "grounding"):
        table.add_column(name)
    for name in ("reward", "value", "advantage"):
        table.add_column(name, justify="right")
    for step in range(shown.length):
        table.add_row(*_row(shown, step))
    return Group(*_opening(shown), table, *_ending(shown))


def _row(shown: Shown, step: int) -> list[str]:
    action, response = shown.at(ActionTaken, step), shown.at(UserResponded, step)
    value, gain = shown.at(StateValued, step), shown.at(AdvantageEstimated, step)
    return [
        str(step),
        action.title if action else "",
        _grounding(action) if action else "",
        _reward(response) if response else "",
        f"{value.value:g}" if value else "",
        f"{gain.advantage:+.2f}" if gain else "",
    ]


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


def _ending(shown: Shown) -> Iterator[str]:
    for ended in shown.all(EpisodeEnded):
        how = "the user left" if ended.reason == "quit" else "stayed to the limit"
        yield f"End: {how} after {_steps(ended.length)}, sum of rewards {ended.reward:g}."
    for written in shown.all(ReflectionWritten):
        yield f"Reflection: {written.text}"
    for call in shown.all(ModelFailed):
        yield f"The {call.role}'s call at step {call.step} failed: {call.error}."
    for failed in shown.all(HandlerFailed):
        yield f"{failed.handler} raised {failed.error}."
    for lost in shown.all(EpisodeFailed):
        yield f"The episode failed: {lost.why}. Nothing of it is remembered."


def step_page(shown: Shown, step: int) -> Group:
    """Return the page of one step; raises ConfigError if the episode has no such step."""
    action = shown.at(ActionTaken, step)
    if action is None:
        hint = f"it has the steps 0 to {shown.length - 1}" if shown.length else "it has no step"
        raise ConfigError(f"the episode has no step {step}", hint=hint)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in _details(shown, action):
        table.add_row(name, text)
    return Group(*_opening(shown), table)


def _details(shown: Shown, action: ActionTaken) -> Iterator[tuple[str, str]]:
    step = action.step
    plan = shown.at(PlanMade, step)
    if plan is not None:
        yield from _recalled(shown, "reflection", REFLECTIONS, plan.reflections)
        yield "thought", plan.thought
    for result in action.tools:
        yield f"tool: {result.tool}", result.text or "–"
    yield from _recalled(shown, "experience", EXPERIENCES, action.recalled)
    yield "words", action.words
    yield "action", f"{action.title} (item {action.item}, {_grounding(action)})"
    response = shown.at(UserResponded, step)
    if response is not None:
        yield "reward", _reward(response)
    for state, name in ((step, "value before"), (step + 1, "value after")):
        value = shown.at(StateValued, state)
        if value is not None:
            yield from _recalled(shown, "valuation", VALUATIONS, value.recalled)
            yield name, f"{value.value:g}"
    gain = shown.at(AdvantageEstimated, step)
    if gain is not None:
        yield "advantage", f"{gain.advantage:+g}"


def _recalled(
    shown: Shown, kind: str, memory: MemoryName[Any], found: Sequence[Recalled]
) -> Iterator[tuple[str, str]]:
    texts = shown.remembered.says(memory, [one.position for one in found])
    for one, text in zip(found, texts, strict=True):
        yield f"recalled {kind}", f"{text} [episode {one.episode}, distance {one.distance:g}]"


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count:,} steps"
