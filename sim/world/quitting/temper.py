"""KuaiSim's leave model (arXiv 2309.12645 and its code): a temper that bad items use up."""

import msgspec

from agents.settings import Rate
from agents.trajectory import Trajectory
from engine.messages import Evidence, number
from sim.world.quitting.rules import Encounter, QuitRule

_LEAST = 1.0


class TemperSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user leaves when the temper, *initial* at first, falls below 1.

    Each item changes it by its reward less what leaves the user *content*: by −*fall* at least and
    *rise* at most, and never above *initial*. KuaiSim's temper does not rise.
    """

    initial: Rate = 10.0
    content: float = 3.0
    fall: Rate = 2.0
    rise: Rate = 0.5


def temper(settings: TemperSettings, trajectory: Trajectory) -> float:
    """Return the user's temper before the step that is open."""
    left = settings.initial
    for step in trajectory.recent(trajectory.length):
        left = after(settings, left, step.reward)
    return left


def after(settings: TemperSettings, left: float, reward: float) -> float:
    """Return what is *left* of a temper after an item of a *reward*."""
    change = min(max(reward - settings.content, -settings.fall), settings.rise)
    return min(left + change, settings.initial)


def _why(settings: TemperSettings, at: Encounter) -> str | None:
    left = after(settings, temper(settings, at.trajectory), at.reward)
    return "temper" if left < _LEAST else None


def _evidence(settings: TemperSettings, at: Encounter, reason: str) -> Evidence | None:
    left = after(settings, temper(settings, at.trajectory), at.reward)
    if reason != "temper" or left >= _LEAST:
        return None
    return Evidence(rule="temper", measure=number(left), bound=_LEAST)


TEMPER = QuitRule(_why, TemperSettings, {"temper": "lost their temper"}, evidence=_evidence)
