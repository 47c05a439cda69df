"""What a training says: while it goes on, and in the end."""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from sim.training.evaluation import Evaluation


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """How things stood after so many *updates* and *steps* of a world, with training users."""

    updates: int
    steps: int
    users: Evaluation
    losses: dict[str, float]


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What a training came to: the policy, and what *test* users get by it.

    *logged* is how many steps were logged at random, *steps* how many were taken in learning,
    *seconds* how long this process took.
    """

    policy: str
    digest: str
    algorithm: str
    seed: int
    privileged: tuple[str, ...]
    environment: str
    updates: int
    episodes: int
    logged: int
    steps: int
    seconds: float
    test: Evaluation | None


Told: TypeAlias = Callable[[int, CurvePoint | None], None]
"""Is told after how many updates things stand how, if that was looked at."""
