"""What experience says of items: of those tried in states like this one, and of those at hand.

An item's advantage is its mean over the records of like states, so no item is both encouraged and
discouraged. Of each sign the items of the nearest states are told, of those of one state the most
telling first, each by the newest record that is of that sign. How an item surprised whoever met it
is told whatever the state was.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import fsum

import msgspec

from agents.billp.memories import Experience
from agents.settings import ActorSettings
from engine.records import Recall, Vector, View


@dataclass(frozen=True)
class Advice:
    """The items that are *encouraged* and *discouraged*, and the records that say so."""

    encouraged: tuple[int, ...] = ()
    discouraged: tuple[int, ...] = ()
    found: tuple[Recall[Experience], ...] = ()


_EXACT = 80  # bits after the point in which sums of advantages are kept: no order changes them


class Worth(msgspec.Struct, frozen=True, gc=False):
    """What the records of an item come to: the *sum* of their advantages, in units of 2**−80.

    *good* and *bad* are the positions of the newest record of each sign, or −1.
    """

    sum: int = 0
    count: int = 0
    good: int = -1
    bad: int = -1

    def with_record(self, place: int, advantage: float) -> "Worth":
        """Return what they come to with one more, at a *place* after all others."""
        total = self.sum + int(advantage * 2.0**_EXACT)
        if advantage >= 0:
            return Worth(total, self.count + 1, place, self.bad)
        return Worth(total, self.count + 1, self.good, place)

    def joined(self, other: "Worth") -> "Worth":
        """Return what both come to together."""
        return Worth(
            self.sum + other.sum,
            self.count + other.count,
            max(self.good, other.good),
            max(self.bad, other.bad),
        )

    @property
    def mean(self) -> float:
        """The mean advantage."""
        return self.sum / (self.count << _EXACT)

    @property
    def telling(self) -> int:
        """The position of the newest record of the sign that the mean has: there is one."""
        return self.good if self.sum >= 0 else self.bad


@dataclass(frozen=True, slots=True)
class _Known:
    """What the first *count* records of a state come to, by item; *last* is the newest of them."""

    count: int
    last: Experience
    worth: dict[int, Worth]


@dataclass(frozen=True)
class Adviser:
    """Recalls experiences as *settings* say.

    What the records of a state come to is kept, by the first of them, and goes on from there when
    there are more: an episode costs the same however many there were before.
    """

    settings: ActorSettings
    _known: dict[int, _Known] = field(default_factory=dict, compare=False)

    def advise(self, view: View[Experience], key: Vector, spent: Collection[int] = ()) -> Advice:
        """Return what *view* says of the state *key*, but for the items that are *spent*."""
        own = self.settings
        if own.pooled:
            return self._pooled(view, key, spent)
        found = list(view.recall(key, own.recall_count, own.within))
        worth: dict[int, list[float]] = {}
        for recall in found:
            record = recall.record.payload
            worth.setdefault(record.item, []).append(record.advantage)
        told = {item: fsum(known) for item, known in worth.items() if item not in spent}
        good = tuple(item for item, total in told.items() if total >= 0)
        bad = tuple(item for item, total in told.items() if total < 0)
        return Advice(good, bad, tuple(found))

    def _pooled(self, view: View[Experience], key: Vector, spent: Collection[int]) -> Advice:
        worth: dict[int, Worth] = {}
        near: dict[int, float] = {}
        distances: dict[int, float] = {}
        for likeness in view.alike(key, self.settings.recall_count, self.settings.within):
            for item, known in self._worth_of(view, likeness.positions).items():
                # Before hints are counted: late in a visit the most telling ones are spent.
                if item not in spent:
                    near.setdefault(item, likeness.distance)
                    worth[item] = worth[item].joined(known) if item in worth else known
                    distances[known.good] = distances[known.bad] = likeness.distance
        means = {item: known.mean for item, known in worth.items()}
        # What was tried in this very state comes before what was in one that is only like it.
        ranked = sorted(means, key=lambda item: (near[item], -abs(means[item]), item))
        good = tuple([item for item in ranked if means[item] >= 0][: self.settings.hints])
        bad = tuple([item for item in ranked if means[item] < 0][: self.settings.hints])
        places = [worth[item].telling for item in (*good, *bad)]
        found = tuple(Recall(place, distances[place], view[place]) for place in places)
        return Advice(good, bad, found)

    def _worth_of(self, view: View[Experience], positions: Sequence[int]) -> dict[int, Worth]:
        known = self._known.get(positions[0])
        count, worth = 0, {}
        # Another log, or a view of less: what is known is of other records.
        if known is not None and _is_of(known, view, positions):
            count, worth = known.count, known.worth
        if count < len(positions):
            worth = _added(worth, view, positions[count:])
            self._known[positions[0]] = _Known(len(positions), view[positions[-1]].payload, worth)
        return worth


def _is_of(known: _Known, view: View[Experience], positions: Sequence[int]) -> bool:
    if known.count > len(positions):
        return False
    return view[positions[known.count - 1]].payload is known.last


def _added(
    worth: dict[int, Worth], view: View[Experience], positions: Sequence[int]
) -> dict[int, Worth]:
    """Return *worth* with the records at *positions*."""
    worth = dict(worth)
    for place in positions:
        record = view[place].payload
        worth[record.item] = worth.get(record.item, Worth()).with_record(place, record.advantage)
    return worth


class Surprise(msgspec.Struct, frozen=True, gc=False):
    """How an item surprised whoever met it: the *sum* over *count* times, in units of 2**−80."""

    sum: int = 0
    count: int = 0

    @property
    def mean(self) -> float:
        """The mean, on the rating scale."""
        return self.sum / (self.count << _EXACT)


@dataclass(frozen=True)
class Surprises:
    """How items surprised, by all records of a view, whatever state they are of.

    What the records come to is kept and goes on from there when there are more.
    """

    _known: list[tuple[int, Experience | None, dict[int, Surprise]]] = field(
        default_factory=lambda: [(0, None, {})], compare=False
    )

    def of(self, view: View[Experience]) -> dict[int, Surprise]:
        """Return how each item surprised."""
        count, last, found = self._known[-1]
        if view.start:  # the oldest are forgotten: nothing known reaches from there
            return _surprised({}, view, view.start)
        if count > len(view) or (count and view[count - 1].payload is not last):
            count, found = 0, {}
        if count < len(view):
            found = _surprised(found, view, count)
            self._known[-1] = len(view), view[len(view) - 1].payload, found
        return found


def _surprised(
    known: dict[int, Surprise], view: View[Experience], start: int
) -> dict[int, Surprise]:
    """Return what is *known* with the records of *view* from *start* on."""
    found = dict(known)
    for place in range(start, len(view)):
        record = view[place].payload
        if record.surprise is not None:
            before = found.get(record.item, Surprise())
            exact = int(record.surprise * 2.0**_EXACT)
            found[record.item] = Surprise(before.sum + exact, before.count + 1)
    return found
