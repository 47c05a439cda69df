"""What a recommendation is worth to a user: the fitted model's reward, on the rating scale."""

import msgspec

from engine.messages import number
from storage.factors import Factors


class RewardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """*offset* is added to every reward, within the scale: users harder or easier to please."""

    offset: float = 0.0


def true_reward(settings: RewardSettings, factors: Factors, user: int, item: int) -> float:
    """Return the reward that *user* gives *item*, on the environment's rating scale."""
    reward = factors.reward(user, item)
    if settings.offset:
        reward = number(min(max(reward + settings.offset, factors.low), factors.high))
    return reward
