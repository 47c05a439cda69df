"""An episode that has not ended as people read it: its calls, as the run's journal has them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import shorten

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from agents.making import Agent
from engine.errors import ConfigError
from sim.runs.journaled import VisitCalls, Visitor
from sim.views.episode import details_table
from storage.journal import CallEnded

_LONGEST = 160  # characters of a reply, where there is a line for each
_UNWRITTEN = "What the user answered is not written yet."


@dataclass(frozen=True)
class Journaled:
    """The *calls* of an *episode* of an *agent*, and who visits in it."""

    episode: int
    visitor: Visitor
    calls: VisitCalls
    agent: Agent

    def by_step(self) -> list[tuple[int, CallEnded]]:
        """Return the calls with the steps that they belong to; those of one step as they ended."""
        calls = [(self.agent.role(call.role).step(call.step), call) for call in self.calls.ended]
        return sorted(calls, key=lambda one: one[0])

    def opening(self) -> Iterator[str]:
        """Yield what stands above the calls."""
        user, session = self.visitor
        yield f"Episode {self.episode}: user {user}, session {session}. {_UNWRITTEN}\n"

    def ending(self, steps: Sequence[int] | None = None) -> Iterator[str]:
        """Yield what is being tried again, at some steps or at all."""
        for one in self.calls.tried:
            if steps is None or self.agent.role(one.role).step(one.step) in steps:
                said = f": {one.said}" if one.said else ""
                yield (
                    f"The {one.role}'s call at step {one.step} has no reply yet: attempt "
                    f"{one.attempt} failed ({one.error}{said})."
                )


def calls_page(shown: Journaled) -> Group:
    """Return the page of a whole episode: a line for each call."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("step", justify="right")
    table.add_column("who was asked", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("reply", overflow="fold")
    for step, call in shown.by_step():
        reply = shorten(call.text or _failure(call), _LONGEST, placeholder=" …")
        table.add_row(str(step), _asked(shown.agent, call), f"{call.latency:.1f}", reply)
    return Group(*shown.opening(), table, *shown.ending())


def call_page(shown: Journaled, step: int) -> Group:
    """Return the page of one step, with replies in full; raises ConfigError if it has no call."""
    calls = [call for own, call in shown.by_step() if own == step]
    if not calls:
        steps = sorted({own for own, _ in shown.by_step()})
        hint = f"it has calls at the steps 0 to {steps[-1]}" if steps else "it has none"
        raise ConfigError(f"the journal has no call of step {step} of the episode", hint=hint)
    table = details_table()
    for call in calls:
        table.add_row(_asked(shown.agent, call), call.text or _failure(call))
        table.add_row("", _effort(call))
    return Group(*shown.opening(), table, *shown.ending([step]))


def _asked(agent: Agent, call: CallEnded) -> str:
    state = f" (state {call.step})" if agent.role(call.role).speaks_of == "state" else ""
    return call.role + state + (", again" if call.occurrence else "")


def _failure(call: CallEnded) -> str:
    if call.error is None:
        return "(an empty reply)"
    return f"(failed: {call.error}{': ' if call.said else ''}{call.said})"


def _effort(call: CallEnded) -> str:
    tried = "" if call.attempts == 1 else f", {call.attempts} attempts"
    return (
        f"[{call.latency:.1f} s, {call.wait:.1f} of them waiting{tried}; "
        f"{call.prompt_tokens:,} + {call.completion_tokens:,} tokens]"
    )
