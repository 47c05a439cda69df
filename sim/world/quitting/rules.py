"""What a quit rule is, what it is asked, and all of them by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from agents.making import NoSettings
from agents.trajectory import Trajectory
from engine.chance import Stream
from engine.messages import Evidence
from storage.environments import Environment
from storage.parts import Parts


class Streams(Protocol):
    """Gives the chance of a step; a rule *of* several has a stream of its own."""

    def __call__(self, of: str = "") -> Stream:
        """Return the stream, which is given out once."""
        ...


@dataclass(frozen=True)
class Encounter:
    """A user before an *item*, whose true *reward* is known; *trajectory* is what came before.

    *stream* gives the chance of this step; a rule that draws nothing from it costs nothing.
    """

    trajectory: Trajectory
    item: int
    reward: float
    environment: Environment
    stream: Streams


def _untold(_: Any, __: Encounter, ___: str) -> Evidence | None:
    return None


def _never(_: Any, __: Trajectory, ___: int, ____: Environment) -> bool:
    return False


@dataclass(frozen=True)
class QuitRule:
    """Why users leave. *why* gives the reason, one of *reasons*, or None if the user stays.

    *reasons* say for people what each word means. *bores* tells whether an item would end the visit
    now whatever its reward: what the bound `diverse-greedy` keeps clear of. *evidence* is what a
    reason went by, or None if it is not this rule's here; it draws nothing. The rule's *settings*
    are the table `quit` of a configuration.
    """

    why: Callable[[Any, Encounter], str | None]
    settings: type[msgspec.Struct] = NoSettings
    reasons: Mapping[str, str] = field(default_factory=dict)
    bores: Callable[[Any, Trajectory, int, Environment], bool] = _never
    evidence: Callable[[Any, Encounter, str], Evidence | None] = _untold


QUIT_RULES: Parts[QuitRule] = Parts(
    "quit rule",
    "billp.quit_rules",
    QuitRule,
    {
        "billp": "sim.world.quitting.billp:BILLP",
        "quantile": "sim.world.quitting.quantile:QUANTILE",
        "category": "sim.world.quitting.category:CATEGORY",
        "temper": "sim.world.quitting.temper:TEMPER",
        "hazard": "sim.world.quitting.hazard:HAZARD",
    },
)
