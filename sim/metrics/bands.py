"""What happens in the course of an episode: in bands of steps that widen as 1, 2, 5, 10 do."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import fsum

import msgspec

from engine.messages import number

STARTS = (0, *(digit * 10**power for power in range(9) for digit in (1, 2, 5)))
"""The first step of each band: 0, 1, 2–4, 5–9, 10–19, 20–49, 50–99, …"""

_EDGES = tuple(pairwise(STARTS))


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """What happened from step *first* to step *last* of the episodes that got there.

    *episodes* had a recommendation at *first*; *reward* is the mean of the rewards that are known,
    None if none is; *left* is the share of *episodes* whose user left at one of these steps: the
    hazard. Whom the limit cut short did not leave.
    """

    first: int
    last: int
    episodes: int
    reward: float | None
    left: float


@dataclass(eq=False)
class _Steps:
    """The steps in one band, as they come; *rewards* are sums, one for each episode."""

    rewards: list[float] = field(default_factory=list)
    rewarded: int = 0
    left: int = 0

    def band(self, first: int, after: int) -> Band:
        episodes = len(self.rewards)
        return Band(
            first=first,
            last=after - 1,
            episodes=episodes,
            reward=number(fsum(self.rewards) / self.rewarded) if self.rewarded else None,
            left=number(self.left / episodes),
        )


@dataclass(eq=False)
class Bands:
    """Gathers episodes and says what happened in each band of steps that one of them reached."""

    _bands: list[_Steps] = field(default_factory=list)

    def add(self, rewards: Sequence[float | None], *, left: bool) -> None:
        """Take an episode: the reward of each step if known, and whether the user left at last."""
        reached = bisect_right(STARTS, len(rewards) - 1)
        while len(self._bands) < reached:
            self._bands.append(_Steps())
        for steps, (first, after) in zip(self._bands[:reached], _EDGES, strict=False):
            known = [reward for reward in rewards[first:after] if reward is not None]
            steps.rewards.append(fsum(known))
            steps.rewarded += len(known)
        self._bands[reached - 1].left += left

    def result(self) -> tuple[Band, ...]:
        """Return the bands that were reached, in order."""
        pairs = zip(self._bands, _EDGES, strict=False)
        return tuple(steps.band(first, after) for steps, (first, after) in pairs)
