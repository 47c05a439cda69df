"""Why users leave: quit rules by name, and BiLLP's (arXiv 2403.00843 and its code)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.making import NoSettings
from agents.trajectory import Trajectory
from engine.chance import Stream
from storage.factors import Factors
from storage.parts import Parts


@dataclass(frozen=True)
class Encounter:
    """A user before an *item*, whose true *reward* is known; *trajectory* is what came before.

    *stream* gives the chance of this step; a rule that draws nothing from it costs nothing.
    """

    trajectory: Trajectory
    item: int
    reward: float
    factors: Factors
    stream: Callable[[], Stream]


def _never(_: Any, __: Trajectory, ___: int, ____: Factors) -> bool:
    return False


@dataclass(frozen=True)
class QuitRule:
    """Why users leave. *why* gives the reason, one of *reasons*, or None if the user stays.

    *reasons* say for people what each word means. *bores* tells whether an item would end the visit
    now whatever its reward: what the bound `diverse-greedy` keeps clear of. The rule's *settings*
    are the table `quit` of a configuration.
    """

    why: Callable[[Any, Encounter], str | None]
    settings: type[msgspec.Struct] = NoSettings
    reasons: Mapping[str, str] = field(default_factory=dict)
    bores: Callable[[Any, Trajectory, int, Factors], bool] = _never


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


def _why(settings: QuitSettings, at: Encounter) -> str | None:
    earlier = [step.item for step in at.trajectory.recent(max(settings.window, 1))]
    return why_leave(settings, at.factors, at.item, at.reward, earlier)


def _bores(settings: QuitSettings, trajectory: Trajectory, item: int, factors: Factors) -> bool:
    recent = np.array([step.item for step in trajectory.recent(settings.window)], np.int64)
    return bool(len(recent)) and bool(factors.near(item, recent).any())


BILLP = QuitRule(
    _why, QuitSettings, {"similar": "too much alike", "reward": "low reward"}, bores=_bores
)

QUIT_RULES: Parts[QuitRule] = Parts(
    "quit rule", "billp.quit_rules", QuitRule, {"billp": "sim.world.quitting:BILLP"}
)
