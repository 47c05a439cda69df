"""Leaving by chance: a probability at each step, which may be the higher the worse the item was."""

import msgspec

from agents.settings import Rate, Share
from sim.world.quitting.rules import Encounter, QuitRule


class HazardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user leaves with probability *rate*, and *disappointment* more for each point of reward.

    Points are counted from the highest reward of the scale down.
    """

    rate: Share = 0.02
    disappointment: Rate = 0.0


def _why(settings: HazardSettings, at: Encounter) -> str | None:
    missed = at.environment.factors.high - at.reward
    hazard = settings.rate + settings.disappointment * missed
    return "chance" if hazard > 0 and at.stream().fraction() < hazard else None


HAZARD = QuitRule(_why, HazardSettings, {"chance": "had to go"})
