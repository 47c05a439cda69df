"""What an item is worth to a user now: the model's reward, and what the visit made of it."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.settings import Share
from agents.trajectory import Trajectory
from sim.world.dynamics import (
    Strength,
    all_drifted,
    all_sated,
    drift,
    drifted,
    sated,
    satiation,
)
from storage.environments import Environment
from storage.factors import significant, significant_all


class RewardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """*offset* is added to every reward, within the scale: users harder or easier to please.

    Each item of a category lowers the rewards of the next ones of it by a number of the user's own
    between the two of *satiation*; of that the share *recovery* is left a step later. With each
    item taste turns towards or away from it, by the share *drift*.
    """

    offset: float = 0.0
    satiation: tuple[Strength, Strength] = (0.0, 0.6)
    recovery: Share = 0.8
    drift: Share = 0.0


def standing(amount: float, low: float, high: float) -> float:
    """Return how high *amount* stands between *low* and *high*, from 0 to 1.

    It is 1 where the two are the same, as in a world in which everybody gave the same rating.
    """
    return min(max((amount - low) / (high - low), 0.0), 1.0) if high > low else 1.0


def true_reward(
    settings: RewardSettings, environment: Environment, trajectory: Trajectory, item: int
) -> float:
    """Return the reward that the user of *trajectory* gives *item* next, on the rating scale."""
    factors = environment.factors
    reward = plain = factors.reward(trajectory.user, item)
    if settings.offset:
        reward += settings.offset
    if any(settings.satiation):
        levels = satiation(trajectory, settings.satiation, settings.recovery)
        reward -= sated(levels, environment.catalog, item)
    if settings.drift:
        reward += drifted(drift(trajectory, factors, settings.drift), factors, item)
    if reward == plain:
        return plain
    return significant(min(max(reward, factors.low), factors.high))


def true_rewards(
    settings: RewardSettings, environment: Environment, trajectory: Trajectory
) -> NDArray[np.float64]:
    """Return `true_reward` of every item, bit for bit."""
    factors = environment.factors
    rewards = factors.rewards(trajectory.user) + settings.offset
    if any(settings.satiation):
        levels = satiation(trajectory, settings.satiation, settings.recovery)
        rewards -= all_sated(levels, environment.catalog)
    if settings.drift:
        rewards += all_drifted(drift(trajectory, factors, settings.drift), factors)
    return significant_all(np.clip(rewards, factors.low, factors.high))
