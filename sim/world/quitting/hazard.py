"""Leaving by chance: a probability at each step, which may be the higher the worse the item was."""

import msgspec

from agents.settings import Rate, Share
from engine.messages import Evidence, number
from sim.world.quitting.rules import Encounter, QuitRule


class HazardSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user leaves with probability *rate*, and *disappointment* more for each point of reward.

    Points are counted from the highest reward of the scale down.
    """

    rate: Share = 0.02
    disappointment: Rate = 0.0


def _hazard(settings: HazardSettings, at: Encounter) -> float:
    missed = at.environment.factors.high - at.reward
    return settings.rate + settings.disappointment * missed


def _why(settings: HazardSettings, at: Encounter) -> str | None:
    hazard = _hazard(settings, at)
    return "chance" if hazard > 0 and at.stream().fraction() < hazard else None


def _evidence(settings: HazardSettings, at: Encounter, reason: str) -> Evidence | None:
    """Return the probability of leaving, beyond 0: what was drawn says nothing more."""
    if reason != "chance":
        return None
    return Evidence(rule="hazard", measure=number(_hazard(settings, at)), bound=0.0)


HAZARD = QuitRule(_why, HazardSettings, {"chance": "had to go"}, evidence=_evidence)
