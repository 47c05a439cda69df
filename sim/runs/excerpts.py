"""Logs as an episode of a recorded run saw them, and as it would have without one record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.records import Likeness, Log, Recall, Record, Vector, View


@dataclass(frozen=True)
class Prefix:
    """The first records of a log: what an episode saw."""

    log: Log
    length: int

    def __len__(self) -> int:
        return self.length

    def append(self, record: Record[Any]) -> None:
        """Drop *record*: nobody comes after the episode."""

    def view(self, length: int) -> View[Any]:
        """Return a view of the log."""
        return self.log.view(length)


@dataclass(frozen=True)
class Without:
    """A log as if the record at *position* had never been written: those after it move up."""

    log: Log
    position: int

    def __len__(self) -> int:
        return len(self.log) - 1

    def append(self, record: Record[Any]) -> None:
        """Drop *record*: nobody comes after the episode."""

    def view(self, length: int) -> View[Any]:
        """Return what the first *length* records are; the one left out must be before them."""
        return ViewWithout(self.log.view(length + 1), self.position)


@dataclass(frozen=True, slots=True)
class ViewWithout:
    """A *whole* view but for the record at a *position*.

    What a memory of bounded size has forgotten stays forgotten: no older record takes its place.
    """

    whole: View[Any]
    position: int

    def __len__(self) -> int:
        return len(self.whole) - 1

    @property
    def start(self) -> int:
        """The position of the oldest record that can be recalled."""
        return self._moved(self.whole.start)

    def __getitem__(self, position: int) -> Record[Any]:
        """Return the record at *position*."""
        return self.whole[position if position < self.position else position + 1]

    def recall(self, vector: Vector, k: int, within: float = 2.0) -> Sequence[Recall[Any]]:
        """Return those of the *k* nearest of all that are left, nearest first.

        No other takes the place of the one left out: it is its lack that is felt, not a stranger.
        """
        found = self.whole.recall(vector, k, within)
        others = [one for one in found if one.position != self.position]
        return [Recall(self._moved(o.position), o.distance, o.record) for o in others]

    def alike(self, vector: Vector, k: int, within: float = 2.0) -> Sequence[Likeness]:
        """Return those of the *k* nearest keys of all that are left, nearest first."""
        found = [self._others(like) for like in self.whole.alike(vector, k, within)]
        return [like for like in found if like.positions]

    def _others(self, like: Likeness) -> Likeness:
        places = [self._moved(place) for place in like.positions if place != self.position]
        return Likeness(like.distance, places)

    def _moved(self, position: int) -> int:
        return position - (position > self.position)
