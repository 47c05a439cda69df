"""What experience says of items in states like this one: all of it, pooled by item.

An item's advantage is its mean over the records of like states, so no item is both encouraged and
discouraged. Of each sign the items of the nearest states are told, of those of one state the most
telling first, each by the newest record that is of that sign.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import fsum

from agents.billp.memories import Experience
from agents.settings import ActorSettings
from engine.records import Recall, Vector, View


@dataclass(frozen=True)
class Advice:
    """The items that are *encouraged* and *discouraged*, and the records that say so."""

    encouraged: tuple[int, ...] = ()
    discouraged: tuple[int, ...] = ()
    found: tuple[Recall[Experience], ...] = ()


Worth = dict[int, list[tuple[int, float]]]
"""The positions and advantages of the records of each item, oldest first."""


@dataclass(frozen=True)
class Adviser:
    """Recalls experiences as *settings* say.

    What the records of a state come to is kept, by the first of them, until there are others: whole
    batches of episodes see the same of a log.
    """

    settings: ActorSettings
    _known: dict[int, tuple[Experience | None, Worth]] = field(default_factory=dict, compare=False)

    def advise(self, view: View[Experience], key: Vector, spent: Collection[int] = ()) -> Advice:
        """Return what *view* says of the state *key*, but for the items that are *spent*."""
        own = self.settings
        if own.pooled:
            return self._pooled(view, key, spent)
        found = list(view.recall(key, own.recall_count, own.within))
        worth: Worth = {}
        for recall in found:
            record = recall.record.payload
            worth.setdefault(record.item, []).append((recall.position, record.advantage))
        told = {item: _sum(known) for item, known in worth.items() if item not in spent}
        good = tuple(item for item, total in told.items() if total >= 0)
        bad = tuple(item for item, total in told.items() if total < 0)
        return Advice(good, bad, tuple(found))

    def _pooled(self, view: View[Experience], key: Vector, spent: Collection[int]) -> Advice:
        worth: Worth = {}
        distances: dict[int, float] = {}
        for likeness in view.alike(key, self.settings.recall_count, self.settings.within):
            for item, known in self._worth_of(view, likeness.positions).items():
                # Before hints are counted: late in a visit the most telling ones are spent.
                if item not in spent:
                    worth.setdefault(item, []).extend(known)
                    distances |= dict.fromkeys((place for place, _ in known), likeness.distance)
        means = {item: _sum(known) / len(known) for item, known in worth.items()}
        # What was tried in this very state comes before what was in one that is only like it.
        near = {item: min(distances[place] for place, _ in known) for item, known in worth.items()}
        ranked = sorted(means, key=lambda item: (near[item], -abs(means[item]), item))
        good = tuple([item for item in ranked if means[item] >= 0][: self.settings.hints])
        bad = tuple([item for item in ranked if means[item] < 0][: self.settings.hints])
        places = [_newest(worth[item], good=means[item] >= 0) for item in (*good, *bad)]
        found = tuple(Recall(place, distances[place], view[place]) for place in places)
        return Advice(good, bad, found)

    def _worth_of(self, view: View[Experience], positions: Sequence[int]) -> Worth:
        last = view[positions[-1]].payload
        seen, worth = self._known.get(positions[0], (None, {}))
        if seen is not last:
            worth = {}
            for place in positions:
                record = view[place].payload
                worth.setdefault(record.item, []).append((place, record.advantage))
            self._known[positions[0]] = last, worth
        return worth


def _sum(known: Sequence[tuple[int, float]]) -> float:
    return fsum(advantage for _, advantage in known)


def _newest(known: Sequence[tuple[int, float]], *, good: bool) -> int:
    """Return the newest record of the sign that the mean has: there is one."""
    return max(place for place, advantage in known if (advantage >= 0) is good)
