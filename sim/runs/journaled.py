"""What a run's journal tells of visits that its trace does not hold yet: how their calls ended.

What the user answered stands in no journal, so nothing here tells of rewards.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from agents.making import Agent
from storage.journal import (
    AttemptFailed,
    CallEnded,
    ForkStarted,
    Identity,
    RetryStarted,
    read_entries,
)

Visitor: TypeAlias = tuple[int, int]
"""A user and the session: what a visit is known by before it has a number."""


@dataclass(frozen=True)
class VisitCalls:
    """The calls of a visit: how they *ended*, oldest first, and what is being *tried* again.

    That is the last failed attempt at each call that has not ended. *begun* says that a call of it
    was made in this run: a fork's journal begins with all that its parent was ever told.
    """

    ended: tuple[CallEnded, ...] = ()
    tried: tuple[AttemptFailed, ...] = ()
    begun: bool = False

    def steps(self, agent: Agent) -> int:
        """Return how many steps have begun, as far as a role that speaks of steps was heard."""
        others = {role.name for role in agent.roles if role.speaks_of != "step"}
        return max((call.step + 1 for call in self.ended if call.role not in others), default=0)


@dataclass(eq=False)
class _Gathered:
    ended: dict[Identity, CallEnded] = field(default_factory=dict)
    tried: dict[Identity, AttemptFailed] = field(default_factory=dict)
    begun: bool = False

    def end(self, call: CallEnded, *, forked: bool) -> None:
        """Take how a call ended; the last end of it counts."""
        self.ended[call.identity] = call
        self.tried.pop(call.identity, None)
        # What a fork inherits cost it no attempt, and comes before all that it asked.
        self.begun = self.begun or not (forked and not call.attempts)

    def retry(self) -> None:
        """Forget what failed: it is asked again."""
        failed = [known for known, call in self.ended.items() if call.error is not None]
        for known in failed:
            del self.ended[known]

    def calls(self) -> VisitCalls:
        """Return what was gathered."""
        return VisitCalls(tuple(self.ended.values()), tuple(self.tried.values()), self.begun)


def read_calls(journal: Path, wanted: Callable[[Visitor], bool]) -> dict[Visitor, VisitCalls]:
    """Return the calls of the visits that are *wanted*, by visitor, in the order of their first.

    The journal may be one that is being written, or that a crash tore; where there is none, nobody
    was asked yet. Raises JournalError for damage.
    """
    found: dict[Visitor, _Gathered] = {}
    forked = False
    for entry in read_entries(journal) if journal.exists() else ():
        match entry:
            case CallEnded() if wanted(visitor := (entry.user, entry.session)):
                found.setdefault(visitor, _Gathered()).end(entry, forked=forked)
            case AttemptFailed() if wanted(visitor := (entry.user, entry.session)):
                known = (*visitor, entry.step, entry.role, entry.occurrence)
                found.setdefault(visitor, _Gathered()).tried[known] = entry
            case RetryStarted():
                for one in found.values():
                    one.retry()
            case ForkStarted():
                forked = True
    return {visitor: one.calls() for visitor, one in found.items()}
