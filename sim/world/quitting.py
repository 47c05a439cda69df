"""Why users leave: BiLLP's quit rule (arXiv 2403.00843 and its code), with its switches."""

from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.messages import LeaveReason


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
) -> LeaveReason | None:
    """Return why the user leaves at *item* after the *earlier* ones, oldest first, or None."""
    if not earlier and not settings.first_step:
        return None
    window = np.array(earlier[-settings.window :] if settings.window else (), np.int64)
    if len(window) and nearness.near(item, window).any():
        return "similar"
    return "reward" if reward < settings.lowest else None
