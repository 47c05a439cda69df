"""Whether and when a user comes back, by how well the last visit went."""

from collections.abc import Callable
from functools import partial

import msgspec

from agents.settings import Positive, Rate, Share
from engine.messages import EpisodeEnded
from sim.world.rewards import standing


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a visit that missed a share m of the best one decides about the next.

    The best has so many *steps* with the highest reward, the worst nothing above the lowest. A user
    comes back with probability *chance* · (1 − *loss* · m), after a mean gap of 1 + *delay* · m
    times the usual one.
    """

    chance: Share = 1.0
    loss: Share = 0.0
    delay: Rate = 0.0
    steps: Positive = 50


def missed(ended: EpisodeEnded, steps: int, low: float, high: float) -> float:
    """Return the share that a visit lacks of *steps* with the *high* reward, counted from *low*."""
    return 1.0 - standing(ended.reward - low * ended.length, 0.0, (high - low) * steps)


def coming_back(
    settings: RetentionSettings, low: float, high: float
) -> Callable[[EpisodeEnded], tuple[float, float]]:
    """Return what tells how likely a user comes back, and how many times the mean gap is as long.

    Rewards are from *low* to *high*.
    """
    return partial(_back, settings, low, high)


def _back(
    settings: RetentionSettings, low: float, high: float, ended: EpisodeEnded
) -> tuple[float, float]:
    lacking = missed(ended, settings.steps, low, high)
    return settings.chance * (1.0 - settings.loss * lacking), 1.0 + settings.delay * lacking
