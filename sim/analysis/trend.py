"""How a run goes: rewards, reasons of leaving and categories, from block to block of its episodes.

Blocks are of equal size, and that size doubles whenever there would be too many of them: so it does
not matter how many episodes there are, or whether they are still coming.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from threading import Lock
from typing import TypeAlias

import msgspec

from engine.messages import (
    ActionTaken,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    RunEnded,
    UserResponded,
    number,
)
from sim.analysis.ledger import Ledger

MOST = 40
"""Blocks that there are at most."""

_SURE = 1.96  # standard errors on either side: 95 % of a normal distribution
_NAMED = 7  # categories by name; the others are put together
OTHERS = "others"

Categories: TypeAlias = Callable[[int], Sequence[str]]
"""Returns the names of an item's categories."""

HEARD = EpisodeStarted | ActionTaken | UserResponded | EpisodeEnded | EpisodeFailed | RunEnded


class TrendPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A block: the episodes from *first* to *last*, without those that *failed*.

    *mean* is that of R_traj, between *low* and *high* by 1.96 standard errors; None of too few.
    *len* is the mean length; *reasons* count why episodes ended, *categories* what was recommended.
    """

    first: int
    last: int
    episodes: int
    failed: int
    mean: float | None
    low: float | None
    high: float | None
    len: float | None
    reasons: dict[str, int]
    categories: dict[str, int]


@dataclass(eq=False)
class _Block:
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    steps: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)

    @property
    def size(self) -> int:
        return self.count + self.failed

    def take(self, other: "_Block") -> None:
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        self.steps += other.steps
        self.failed += other.failed
        self.reasons += other.reasons
        self.categories += other.categories


@dataclass(eq=False)
class Trend:
    """Takes episodes in canonical order; *categories* tells those of an item, if it is known."""

    categories: Categories = lambda _: ()
    _size: int = 1
    _blocks: list[_Block] = field(default_factory=list)
    _visit: _Block = field(default_factory=_Block)
    _reason: str = ""
    _open: bool = False

    def __len__(self) -> int:
        """Return how many episodes have been taken."""
        return sum(block.size for block in self._blocks)

    def hear(self, message: object) -> None:
        """Take a message; an episode counts once the next one begins, or at `finish`."""
        match message:
            case ActionTaken(item=item):
                self._visit.categories.update(self.categories(item))
            case UserResponded(left=True, reason=reason):
                self._reason = reason or "left"
            case EpisodeEnded(length=length, reward=reward, reason=reason):
                self._visit.steps = length
                self._visit.count, self._visit.total, self._visit.squares = 1, reward, reward**2
                self._visit.reasons[self._reason if reason == "quit" else reason] += 1
            case EpisodeFailed():
                self._visit = _Block(failed=1)
            case EpisodeStarted():
                self.finish()
                self._open = True
            case RunEnded():
                self.finish()

    def finish(self) -> None:
        """Count the episode that was heard last."""
        visit, self._visit, self._reason = self._visit, _Block(), ""
        if not self._open:
            return
        self._open = False
        if not self._blocks or self._blocks[-1].size >= self._size:
            self._blocks.append(_Block())
            self._halve()
        self._blocks[-1].take(visit)

    def _halve(self) -> None:
        if len(self._blocks) <= MOST:
            return
        self._size *= 2
        whole = self._blocks
        self._blocks = whole[::2]
        for block, other in zip(self._blocks, whole[1::2], strict=False):
            block.take(other)

    def points(self) -> tuple[TrendPoint, ...]:
        """Return the blocks so far."""
        named = self._named()
        points, first = [], 0
        for block in self._blocks:
            if block.size:
                points.append(_point(block, first, named))
            first += block.size
        return tuple(points)

    def _named(self) -> list[str]:
        whole: Counter[str] = Counter()
        for block in self._blocks:
            whole += block.categories
        # By name where counts are equal: else the order of their coming would show.
        return [name for name, _ in sorted(whole.items(), key=lambda one: (-one[1], one[0]))][
            :_NAMED
        ]


def _point(block: _Block, first: int, named: Iterable[str]) -> TrendPoint:
    count = block.count
    mean = block.total / count if count else None
    error = _error(block, mean) if mean is not None and count > 1 else None
    categories = {name: block.categories[name] for name in named if block.categories[name]}
    others = block.categories.total() - sum(categories.values())
    return TrendPoint(
        first=first,
        last=first + block.size - 1,
        episodes=count,
        failed=block.failed,
        mean=None if mean is None else number(mean),
        low=None if mean is None or error is None else number(mean - _SURE * error),
        high=None if mean is None or error is None else number(mean + _SURE * error),
        len=number(block.steps / count) if count else None,
        reasons=dict(sorted(block.reasons.items())),
        categories=categories | ({OTHERS: others} if others else {}),
    )


def _error(block: _Block, mean: float) -> float:
    """Return the standard error of *mean*."""
    spread = max(0.0, block.squares - block.count * mean**2)
    return sqrt(spread / (block.count - 1) / block.count)


@dataclass(eq=False)
class TraceTrend:
    """The trend of a trace that may be growing, read once and then only what is new."""

    trend: Trend
    taken: int = 0
    _lock: Lock = field(default_factory=Lock)

    def refresh(self, ledger: Ledger) -> tuple[TrendPoint, ...]:
        """Take the episodes of *ledger* that are written whole; return the blocks so far.

        Several threads may ask at once.
        """
        with self._lock:
            if self.taken > len(ledger):  # it is another trace than before
                self.trend, self.taken = Trend(self.trend.categories), 0
            while self.taken < len(ledger) and ledger[self.taken].end != "open":
                for envelope in ledger.read(self.taken, HEARD):
                    self.trend.hear(envelope.message)
                self.trend.finish()
                self.taken += 1
            return self.trend.points()
