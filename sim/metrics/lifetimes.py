"""How users come back: of runs in which they have several sessions."""

from dataclasses import dataclass, field
from math import fsum
from typing import TypeAlias

import msgspec

from engine.messages import Envelope, EpisodeStarted, UserResponded, number

Life: TypeAlias = tuple[int, int]  # a user, and the how manieth time as a new one

_DAY = 86_400_000


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What came of users, failed episodes included.

    *return_rate*: share of visits with another one, of those that could have one. *days_between*:
    from the end of a visit to the next arrival, in days of virtual time, mean. *lifetime_reward*:
    the sum of a user's rewards over all sessions, mean.
    """

    users: int
    return_rate: float
    days_between: float
    lifetime_reward: float


@dataclass(eq=False)
class Lifetimes:
    """Follows users over their *sessions*, which are at most so many."""

    sessions: int
    _life: Life = (0, 0)
    _open: int = 0
    _gaps: list[int] = field(default_factory=list)
    _ends: dict[Life, int] = field(default_factory=dict)
    _rewards: dict[Life, list[float]] = field(default_factory=dict)

    def __call__(self, envelope: Envelope[object]) -> None:
        """Take note of a message."""
        match envelope.message:
            case EpisodeStarted(user=user, session=session, arrival=arrival):
                self._life = user, session // self.sessions
                if self._life in self._ends:
                    self._gaps.append(arrival - self._ends[self._life])
                self._open += session % self.sessions + 1 < self.sessions
                self._rewards.setdefault(self._life, [])
                self._ends[self._life] = arrival
            case UserResponded(reward=reward):
                self._rewards[self._life].append(reward)
        if envelope.episode is not None:
            self._ends[self._life] = max(envelope.time, self._ends.get(self._life, 0))

    def result(self) -> Retention:
        """Return what came of the users so far."""
        users, gaps = len(self._rewards), self._gaps
        total = fsum(fsum(rewards) for rewards in self._rewards.values())
        return Retention(
            users=users,
            return_rate=number(len(gaps) / max(1, self._open)),
            days_between=number(fsum(gaps) / max(1, len(gaps)) / _DAY),
            lifetime_reward=number(total / max(1, users)),
        )


def retention_rows(retention: Retention | None) -> list[tuple[str, str, str]]:
    """Return name, value and meaning of each, if there are any."""
    if retention is None:
        return []
    lifetime = f"sum of rewards over all visits of a user, of {retention.users:,}"
    return [
        ("return rate", f"{retention.return_rate:.1%}", "of visits that could have another"),
        ("days between", f"{retention.days_between:.2f}", "of virtual time, between two visits"),
        ("lifetime", f"{retention.lifetime_reward:.2f}", lifetime),
    ]
