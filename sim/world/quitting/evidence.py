"""What made a user leave, as it can be shown: which item was how near, which reward was how low."""

from math import sqrt

import numpy as np

from engine.messages import Evidence, number
from sim.world.quitting.rules import Encounter
from storage.factors import UNIT


def by_likeness(rule: str, at: Encounter, window: int, reach: int) -> Evidence | None:
    """Return how near *at*'s item is to the nearest of the last *window*; None if none is too near.

    *reach* is the squared distance, in units of 1/`UNIT`², below which items are alike.
    """
    recent = [step.item for step in at.trajectory.recent(window)] if window else []
    if not recent:
        return None
    squared = at.environment.factors.distance_squared(at.item, np.array(recent, np.int64))
    place = int(np.argmin(squared))
    nearest = int(squared[place])
    if nearest >= reach:
        return None
    return Evidence(rule=rule, measure=_length(nearest), bound=_length(reach), item=recent[place])


def by_reward(rule: str, at: Encounter, bound: float) -> Evidence | None:
    """Return how low *at*'s reward is; None if it is not below *bound*."""
    if at.reward >= bound:
        return None
    return Evidence(rule=rule, measure=number(at.reward), bound=number(bound))


def _length(squared: int) -> float:
    return number(sqrt(squared) / UNIT)
