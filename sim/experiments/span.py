"""What chance and the bound get in a world: for how long there is something to learn, and how much.

Both are the policies of `worlds`: *random* meets any item, drawn `DRAWS` times, and the *bound* is
`diverse-greedy`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import msgspec
import numpy as np

from engine.messages import number
from sim.config.run import RunConfig
from sim.experiments.crowd import Crowd, Visits, play
from sim.experiments.worlds import at_random
from storage.environments import Environment

USERS = 100
DRAWS = 3


class Got(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy gets: the mean length of a visit, its last step included, and R_traj."""

    len: float
    r_traj: float


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """What is between chance and the *bound* for *users* who stay *limit* steps at most."""

    users: int
    limit: int
    random: Got
    bound: Got


class Both(Protocol):
    """Knows what chance and the bound get."""

    @property
    def random(self) -> Got:
        """What chance gets."""
        ...

    @property
    def bound(self) -> Got:
        """What who knows everything gets."""
        ...


def random_share(both: Both) -> float:
    """Return what chance gets as a share of the bound's R_traj."""
    return number(both.random.r_traj / (both.bound.r_traj or 1.0))  # a scale may begin at 0


@dataclass(eq=False)
class Trial:
    """Up to `USERS` users of an *environment*, those to test with first, under rules of *config*.

    Raises ConfigError for rules that cannot be judged.
    """

    environment: Environment
    config: RunConfig

    @cached_property
    def random(self) -> Got:
        """What chance gets."""
        crowd = self._crowd()
        return _got([play(crowd, at_random(seed)) for seed in range(DRAWS)])

    @cached_property
    def bound(self) -> Got:
        """What who knows everything gets."""
        return _got([play(self._crowd(), lambda visits: visits.best(visits.rewards()))])

    def span(self) -> Span:
        """Return what is between the two."""
        return Span(users=len(self._users), limit=self._limit, random=self.random, bound=self.bound)

    @property
    def _limit(self) -> int:
        return min(self.config.limit, len(self.environment.catalog))

    @property
    def _users(self) -> list[int]:
        parts = self.environment.test_users, self.environment.train_users
        return [user for part in parts for user in part.tolist()][:USERS]

    def _crowd(self) -> Crowd:
        # Not kept: it is large, and there may be many trials.
        config = msgspec.structs.replace(self.config, limit=self._limit)
        return Crowd(self.environment, config, self._users)


def _got(plays: list[Visits]) -> Got:
    lengths = [np.minimum(np.sum(one.stayed, axis=0) + 1, len(one.met)) for one in plays]
    return Got(
        len=number(float(np.mean(lengths))),
        r_traj=number(float(np.mean([one.total() for one in plays]))),
    )
