"""Users with measures of their own: BiLLP's rule with each user's threshold and tolerance."""

import msgspec
import numpy as np

from agents.settings import Count, Rate, Share
from agents.trajectory import Trajectory
from engine.messages import Evidence
from sim.world.quitting.billp import REASONS, recent_items
from sim.world.quitting.evidence import by_likeness, by_reward
from sim.world.quitting.rules import Encounter, QuitRule
from sim.world.traits import trait
from storage.environments import Environment
from storage.factors import Factors

_ONE = 1 << 10  # what stands for a tolerance of 1


class QuantileSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user leaves when a reward is below the user's own *quantile* of the whole catalog's.

    Or when an item is nearer than the user's own measure to one of the last *window* items: β times
    a number between those of *tolerance*, drawn for each user.
    """

    window: Count = 4
    quantile: Share = 0.25
    tolerance: tuple[Rate, Rate] = (1.0, 1.0)


def too_near(
    settings: QuantileSettings, factors: Factors, trajectory: Trajectory, item: int
) -> bool:
    """Tell whether *item* is too much like one of the window for this user."""
    recent = recent_items(trajectory, settings.window)
    if not len(recent):
        return False
    nearest = int(np.min(factors.distance_squared(item, recent)))
    return nearest < reach_of(settings, factors, trajectory.user)


def reach_of(settings: QuantileSettings, factors: Factors, user: int) -> int:
    """Return the squared distance, in units of 1/`UNIT`², below which items are alike to *user*."""
    borne = round(trait(user, "tolerance", settings.tolerance) * _ONE)
    # Rounded up: a whole number is below it as it is below the fraction.
    return -(-factors.beta_squared * borne * borne // (_ONE * _ONE))


def _why(settings: QuantileSettings, at: Encounter) -> str | None:
    factors, user = at.environment.factors, at.trajectory.user
    if too_near(settings, factors, at.trajectory, at.item):
        return "similar"
    return "reward" if at.reward < factors.quantile(user, settings.quantile) else None


def _bores(
    settings: QuantileSettings, trajectory: Trajectory, item: int, environment: Environment
) -> bool:
    return too_near(settings, environment.factors, trajectory, item)


def _evidence(settings: QuantileSettings, at: Encounter, reason: str) -> Evidence | None:
    factors, user = at.environment.factors, at.trajectory.user
    if reason == "similar":
        return by_likeness("quantile", at, settings.window, reach_of(settings, factors, user))
    bound = factors.quantile(user, settings.quantile)
    return by_reward("quantile", at, bound) if reason == "reward" else None


QUANTILE = QuitRule(_why, QuantileSettings, REASONS, bores=_bores, evidence=_evidence)
