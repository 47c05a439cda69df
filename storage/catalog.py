"""What can be recommended: titles, categories and how popular each item is."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from html import unescape
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

S = TypeVar("S", bound=np.generic)


def clean_title(text: str) -> str:
    """Return *text* on one line: entities resolved, white space collapsed, valid UTF-8."""
    return " ".join(unescape(text).encode(errors="replace").decode().split())


def distinct_titles(titles: list[str]) -> tuple[str, ...]:
    """Return *titles* with a number after every title that stood there before: "Emma (2)"."""
    taken = set(titles)
    # By the title: thousands of items may be called alike, and none is to count from 1 again.
    numbers: dict[str, int] = {}
    distinct = []
    for title in titles:
        name, number = title, numbers.get(title, 0) + 1
        # A made name must not be that of a title which stands there by itself.
        while number > 1 and (name := f"{title} ({number})") in taken:
            number += 1
        numbers[title] = number
        distinct.append(name)
    return tuple(distinct)


def read_only(array: NDArray[S]) -> NDArray[S]:
    """Return *array*, which cannot be written to any more: many may hold it."""
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Catalog:
    """Every item by its position: its title, its categories, its interactions by training users.

    Titles are clean, not empty and all different; categories stand in the source's order.
    """

    titles: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    popularity: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.titles)

    @cached_property
    def category_names(self) -> tuple[str, ...]:
        """Every category: those of most items first, then by name."""
        count = Counter(name for names in self.categories for name in names)
        return tuple(sorted(count, key=lambda name: (-count[name], name)))

    @cached_property
    def by_popularity(self) -> NDArray[np.int64]:
        """All positions, the most popular first, then the lowest."""
        return read_only(np.argsort(-self.popularity, kind="stable"))

    @cached_property
    def members(self) -> dict[str, NDArray[np.int64]]:
        """The positions in each category, the most popular first, then the lowest."""
        positions: dict[str, list[int]] = {name: [] for name in self.category_names}
        for item in self.by_popularity.tolist():
            for name in self.categories[item]:
                positions[name].append(item)
        found = {name: np.array(items, dtype=np.int64) for name, items in positions.items()}
        return {name: read_only(items) for name, items in found.items()}

    @cached_property
    def labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The categories of all items in a row, as positions in `category_names`, and their ends.

        Those of item *i* stand at `ends[i] … ends[i + 1]`.
        """
        column = {name: position for position, name in enumerate(self.category_names)}
        columns = [column[name] for names in self.categories for name in names]
        counts = [len(names) for names in self.categories]
        ends = np.cumsum([0, *counts], dtype=np.int64)
        return read_only(np.array(columns, np.int64)), read_only(ends)

    @cached_property
    def by_title(self) -> dict[str, int]:
        """The position of each title."""
        return {title: item for item, title in enumerate(self.titles)}
