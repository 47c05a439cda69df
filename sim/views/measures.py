"""What meters hear of a run as it happens: the one source of Prometheus' and OpenTelemetry's.

Every label has few values, whatever models and users do: roles, outcomes, reasons that are known.
"""

from dataclasses import dataclass
from typing import Protocol

from agents.models.model import ChatRequest
from engine.listeners import Live
from engine.messages import EpisodeEnded, EpisodeFailed, UserResponded
from sim.runs.watching import Underway
from sim.world.quitting import reasons_of
from storage.journal import CallEnded

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Bounds between which calls are counted by how long they took."""

LENGTHS = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)
"""Bounds between which episodes are counted by their steps."""

_CAPACITY = 1_000_000


class Meters(Protocol):
    """What counts: three things happen in a run."""

    def step(self, reason: str | None) -> None:
        """Count a step; *reason* is why the user left after it, None if the user stayed."""
        ...

    def episode(self, outcome: str, length: int, reward: float) -> None:
        """Count an episode that ended by "quit" or "limit", or "failed" (then the rest is 0)."""
        ...

    def call(self, role: str, ended: CallEnded) -> None:
        """Count a call that was made now, not one of a record."""
        ...


@dataclass(frozen=True, eq=False)
class Measures:
    """Tells *meters* of what it hears; reasons that are not among *reasons* are "other"."""

    meters: Meters
    reasons: frozenset[str]

    def hear(self, live: Live[UserResponded | EpisodeEnded | EpisodeFailed]) -> None:
        """Hear a message as it happens."""
        match live.message:
            case UserResponded(left=left, reason=reason):
                known = reason if reason in self.reasons else "other"
                self.meters.step(known if left else None)
            case EpisodeEnded(reason=outcome, length=length, reward=reward):
                self.meters.episode(outcome, length, reward)
            case EpisodeFailed():
                self.meters.episode("failed", 0, 0.0)

    def call(self, request: ChatRequest, ended: CallEnded) -> None:
        """Witness a call."""
        self.meters.call(request.call.role, ended)


def measure(underway: Underway, meters: Meters) -> None:
    """Let *meters* hear of the run from now on."""
    measures = Measures(meters, frozenset(reasons_of(underway.config.quit_rule)))
    heard = UserResponded | EpisodeEnded | EpisodeFailed
    underway.assembly.bus.listen(heard, measures.hear, capacity=_CAPACITY)
    underway.access.witnesses.append(measures.call)
