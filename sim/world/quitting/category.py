"""DORL's quit rule (arXiv 2307.04571 and its code): too much of one category lately."""

from collections import Counter

import msgspec

from agents.settings import Count
from agents.trajectory import Trajectory
from engine.messages import Evidence
from sim.world.quitting.rules import Encounter, QuitRule
from storage.environments import Environment


class CategorySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user leaves at an item of a category that more than *most* of the last *window* have.

    The first item never makes a user leave. Defaults are those of the authors' environments.
    *negative_slice* is what their code does while fewer items than the window were shown: in
    `actions[t - window : t]` the start is negative, and counts from the end. So of t items then
    only the last min(t, window − t) are looked at.
    """

    window: Count = 5
    most: Count = 1
    negative_slice: bool = False


def _looked_at(settings: CategorySettings, shown: int) -> int:
    """Return how many of the items *shown* so far count."""
    if settings.negative_slice and shown < settings.window:
        return min(shown, settings.window - shown)
    return settings.window


def _most_met(
    settings: CategorySettings, trajectory: Trajectory, item: int, environment: Environment
) -> int:
    """Return how often the category of *item* that was met most was met lately."""
    recent = trajectory.recent(_looked_at(settings, trajectory.length))
    met = Counter(name for step in recent for name in step.categories)
    return max((met[name] for name in environment.catalog.categories[item]), default=0)


def _bores(
    settings: CategorySettings, trajectory: Trajectory, item: int, environment: Environment
) -> bool:
    return _most_met(settings, trajectory, item, environment) > settings.most


def _why(settings: CategorySettings, at: Encounter) -> str | None:
    bored = _bores(settings, at.trajectory, at.item, at.environment)
    return "category" if bored else None


def _evidence(settings: CategorySettings, at: Encounter, reason: str) -> Evidence | None:
    most = _most_met(settings, at.trajectory, at.item, at.environment)
    if reason != "category" or most <= settings.most:
        return None
    return Evidence(rule="category", measure=float(most), bound=float(settings.most))


CATEGORY = QuitRule(
    _why,
    CategorySettings,
    {"category": "too much of a category"},
    bores=_bores,
    evidence=_evidence,
)
