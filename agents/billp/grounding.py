"""From words to an item: exact title, normalised title, fuzzy match, nearest vector."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from agents.embeddings import DIMENSIONS, hashed
from engine.messages import GroundingKind, number
from storage.catalog import Catalog
from storage.products import dots_of

_CLOSE = 88.0
"""Likeness in per cent from which two titles are taken for spellings of one."""

Vectors: TypeAlias = NDArray[np.int8]

_NOISE = re.compile(r"[^\w]+")


@dataclass(frozen=True)
class Grounded:
    """The item that was meant, how it was found, and how far it is (0: the same, 1: nothing)."""

    item: int
    kind: GroundingKind
    distance: float


@dataclass(frozen=True)
class Grounder:
    """Finds the item of the catalog that words mean."""

    catalog: Catalog

    def ground(self, words: str, taken: Collection[int] = ()) -> Grounded:
        """Return the nearest item to *words* that is not *taken*.

        Raises ValueError if every item is taken.
        """
        exact = self.catalog.by_title.get(words)
        if exact is not None and exact not in taken:
            return Grounded(exact, "exact", 0.0)
        alike = self._normalised.get(normalised(words))
        if alike is not None and alike not in taken:
            return Grounded(alike, "normalised", 0.0)
        if exact is None and alike is None:
            fuzzy = self._fuzzy(words, taken)
            if fuzzy is not None:
                return fuzzy
        return self.nearest(words, range(len(self.catalog)), taken)

    def _fuzzy(self, words: str, taken: Collection[int]) -> Grounded | None:
        found = process.extract(
            normalised(words),
            self._choices,
            scorer=fuzz.ratio,
            score_cutoff=_CLOSE,
            limit=len(taken) + 1,
        )
        for _, likeness, position in found:
            if position not in taken:
                return Grounded(position, "fuzzy", number(1 - likeness / 100))
        return None

    def nearest(self, words: str, among: Sequence[int], taken: Collection[int] = ()) -> Grounded:
        """Return the item *among* some whose title is nearest to *words* by vector."""
        if not among:
            raise ValueError("every item is taken")
        everything = among == range(len(self.catalog))
        vectors = self._vectors if everything else self._vectors_of(among)
        dots = dots_of(vectors, hashed((words,)))
        for place in np.argsort(-dots, kind="stable")[: len(taken) + 1]:
            item = among[int(place)]
            if item not in taken:
                # Rounded vectors are a little longer or shorter than 127.
                distance = max(0.0, 1 - float(dots[place]) / 127**2)
                return Grounded(item, "nearest", number(distance))
        raise ValueError("every item is taken")

    @cached_property
    def _choices(self) -> list[str]:
        return [normalised(title) for title in self.catalog.titles]

    @cached_property
    def _normalised(self) -> dict[str, int]:
        # Reversed, so that the lower position wins.
        pairs = [(title, item) for item, title in enumerate(self._choices)]
        return dict(reversed(pairs))

    @cached_property
    def _vectors(self) -> Vectors:
        # Of large catalogs hardly a run needs them, and then only here: words like no title.
        return self._vectors_of(range(len(self.catalog)))

    def _vectors_of(self, items: Sequence[int]) -> Vectors:
        rows = np.empty((len(items), DIMENSIONS), np.int8)
        for place, item in enumerate(items):
            rows[place] = hashed((self.catalog.titles[item],))
        return rows


def normalised(title: str) -> str:
    """Return *title* without case, accents, signs such as ™, and punctuation."""
    decomposed = unicodedata.normalize("NFKD", title.replace("™", "").replace("®", ""))
    letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    return _NOISE.sub(" ", letters.casefold()).strip()
