"""What many visits have met so far, each at a step of its own."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Whole: TypeAlias = NDArray[np.int64]

_ROOM = 16  # steps; more when a visit lasts longer


@dataclass(eq=False)
class Past:
    """The steps of *count* visits in a catalog of so many *items*.

    *steps* [n] are how many; *shown* [n, items] tells of what; *met* and *given* [n, room] hold
    items and rewards in order, and mean nothing beyond the steps of a visit.
    """

    count: int
    items: int
    steps: Whole = field(init=False)
    shown: Flags = field(init=False)
    met: Whole = field(init=False)
    given: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.steps = np.zeros(self.count, np.int64)
        self.shown = np.zeros((self.count, self.items), np.bool_)
        self.met = np.zeros((self.count, _ROOM), np.int64)
        self.given = np.zeros((self.count, _ROOM))

    def forget(self, at: Whole) -> None:
        """Let visits begin *at* these positions."""
        self.steps[at] = 0
        self.shown[at] = False

    def add(self, at: Whole, items: Whole, rewards: Floats) -> None:
        """Take note of a step of the visits *at* these positions."""
        step = self.steps[at]
        if step.max(initial=0) >= self.met.shape[1]:
            self._make_room()
        self.met[at, step], self.given[at, step] = items, rewards
        self.shown[at, items] = True
        self.steps[at] += 1

    def _make_room(self) -> None:
        room = ((0, 0), (0, self.met.shape[1]))
        self.met, self.given = np.pad(self.met, room), np.pad(self.given, room)

    def items_of(self, at: Whole, count: int) -> Whole:
        """Return the last *count* items of visits, [k, count], the newest last.

        Where there are fewer, −1 stands before them.
        """
        place = self.steps[at][:, None] + np.arange(-count, 0)
        return np.where(place >= 0, self.met[at[:, None], np.maximum(place, 0)], -1)

    def rewards_of(self, at: Whole, count: int) -> Floats:
        """Return the last *count* rewards of visits, as `items_of` does items; 0 for none."""
        place = self.steps[at][:, None] + np.arange(-count, 0)
        return np.where(place >= 0, self.given[at[:, None], np.maximum(place, 0)], 0.0)
