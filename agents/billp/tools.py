"""What the actor may consult: how categories stand, which were not tried, and candidates."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from agents.trajectory import Step
from engine.chance import Stream
from storage.catalog import Catalog

_AGAINST = re.compile(r"\b(avoid|not|no|never|without|except|instead of|rather than)\b", re.I)
_CLAUSE = re.compile(r"[;:!?\n]|\.(?=\s|$)|, but ")
_DRAWS = 4


def category_counts(recent: Sequence[Step]) -> list[tuple[str, int]]:
    """Return how often each category occurs among *recent* steps, the most frequent first."""
    counts = Counter(category for step in recent for category in step.categories)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def untried(catalog: Catalog, steps: Sequence[Step], count: int) -> list[str]:
    """Return the *count* largest categories of which nothing was recommended in *steps*."""
    tried = {category for step in steps for category in step.categories}
    return [name for name in catalog.category_names if name not in tried][:count]


@dataclass(frozen=True)
class CandidateSearch:
    """Searches the catalog for items that fit a thought."""

    catalog: Catalog

    @cached_property
    def _names(self) -> re.Pattern[str]:
        # Longest first, so that "Science Fiction" is not read as "Fiction".
        names = sorted(self.catalog.category_names, key=lambda name: (-len(name), name))
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)", re.I)

    @cached_property
    def _spelling(self) -> dict[str, str]:
        return {name.casefold(): name for name in self.catalog.category_names}

    def wishes(self, thought: str) -> tuple[list[str], frozenset[str]]:
        """Return the categories that *thought* asks for and those that it warns of.

        A clause with a word such as "avoid" or "not" warns from that word on.
        """
        wanted: list[str] = []
        unwanted: set[str] = set()
        for clause in _CLAUSE.split(thought):
            against = _AGAINST.search(clause)
            border = len(clause) if against is None else against.start()
            wanted.extend(self._named(clause[:border]))
            unwanted.update(self._named(clause[border:]))
        return [name for name in dict.fromkeys(wanted) if name not in unwanted], frozenset(unwanted)

    def _named(self, text: str) -> list[str]:
        if not self.catalog.category_names:
            return []
        found = (name.casefold() for name in self._names.findall(text))
        # A pattern takes a dotless ı for an i, which is no spelling of it.
        return [self._spelling[name] for name in found if name in self._spelling]

    def search(
        self, thought: str, *, count: int, taken: Collection[int], stream: Stream
    ) -> list[int]:
        """Return up to *count* items that fit *thought* and are not *taken*, in no order.

        They are drawn from the wanted categories in turn (from the whole catalog if there is none),
        popular items more often; of those drawn, the ones of fewest unwanted categories remain.
        """
        wanted, unwanted = self.wishes(thought)
        pools = [self.catalog.members[name] for name in wanted] or [self.catalog.by_popularity]
        drawn: dict[int, int] = {}
        fitting = 0
        for draw in range(_DRAWS * count):
            pool = pools[draw % len(pools)]
            # A squared uniform number prefers the head of the list, the popular items.
            item = pool.item(int(len(pool) * stream.fraction() ** 2))
            if item not in taken and item not in drawn:
                drawn[item] = len(unwanted.intersection(self.catalog.categories[item]))
                fitting += not drawn[item]
                # No later one could take the place of any of these.
                if fitting == count:
                    break
        return sorted(drawn, key=drawn.__getitem__)[:count]
