"""BiLLP's quit rule (arXiv 2403.00843 and its code): too much alike, or too low a reward."""

from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.trajectory import Trajectory
from engine.messages import Evidence
from sim.world.quitting.evidence import by_likeness, by_reward
from sim.world.quitting.rules import Encounter, QuitRule
from storage.environments import Environment

REASONS = {"similar": "too much alike", "reward": "low reward"}


class QuitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user leaves when an item is nearer than β to one of the last *window* items.

    Or when its reward is below *lowest*. *first_step* false is what the authors' code does: the
    first item of an episode can never make a user leave.
    """

    window: Annotated[int, msgspec.Meta(ge=0)] = 4
    lowest: float = 2.0
    first_step: bool = True


class Nearness(Protocol):
    """Knows which items are too much alike."""

    def near(self, item: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of *others* are nearer to *item* than β."""
        ...


def why_leave(
    settings: QuitSettings, nearness: Nearness, item: int, reward: float, earlier: Sequence[int]
) -> str | None:
    """Return why the user leaves at *item* after the *earlier* ones, oldest first, or None."""
    if not earlier and not settings.first_step:
        return None
    window = np.array(earlier[-settings.window :] if settings.window else (), np.int64)
    if len(window) and nearness.near(item, window).any():
        return "similar"
    return "reward" if reward < settings.lowest else None


def recent_items(trajectory: Trajectory, count: int) -> NDArray[np.int64]:
    """Return the last *count* items, oldest first."""
    return np.array([step.item for step in trajectory.recent(count)], np.int64)


def _why(settings: QuitSettings, at: Encounter) -> str | None:
    earlier = [step.item for step in at.trajectory.recent(max(settings.window, 1))]
    return why_leave(settings, at.environment.factors, at.item, at.reward, earlier)


def _bores(
    settings: QuitSettings, trajectory: Trajectory, item: int, environment: Environment
) -> bool:
    recent = recent_items(trajectory, settings.window)
    return bool(len(recent)) and bool(environment.factors.near(item, recent).any())


def _evidence(settings: QuitSettings, at: Encounter, reason: str) -> Evidence | None:
    if reason == "similar":
        return by_likeness("billp", at, settings.window, at.environment.factors.beta_squared)
    return by_reward("billp", at, settings.lowest) if reason == "reward" else None


BILLP = QuitRule(_why, QuitSettings, REASONS, bores=_bores, evidence=_evidence)
