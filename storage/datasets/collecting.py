"""From a table that comes in parts to interactions: identifiers are numbered as they come."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataError
from storage.catalog import clean_title
from storage.datasets.format import Columns
from storage.datasets.interactions import Codes, Description, Interactions, Scale, gather
from storage.datasets.marks import AS_THEY_ARE, Marks
from storage.datasets.sources import Source
from storage.datasets.table_files import Table

N = TypeVar("N", bound=np.generic)

Described: TypeAlias = Callable[[Collection[str]], Mapping[str, Description]]
"""What tells of the items of these names what a source says of them."""


class _Numbers:
    """The numbers of identifiers, and of each row the number of its own."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self._rows: list[NDArray[np.int32]] = []

    def add(self, codes: Codes) -> None:
        known = self.known
        numbers = [known.setdefault(name, len(known)) for name in codes.names]
        self._rows.append(np.array(numbers, dtype=np.int32)[codes.positions])

    def codes(self, rows: NDArray[np.int64] | slice) -> Codes:
        return Codes(tuple(self.known), _joined(self._rows)[rows])


def collect(
    parts: Iterable[Table],
    columns: Columns,
    marks: Marks = AS_THEY_ARE,
    *,
    scale: Scale = "rating",
    times: Callable[[Table, str], NDArray[np.float64]] = Table.times,
    described: Described | None = None,
    sources: Sequence[Source],
) -> Interactions:
    """Return the interactions in the *columns* of *parts*; without ratings all are positive.

    Items are *described*, or by the first row of each, where there are columns for that. *sources*
    are those that all is read from.
    """
    users, items = _Numbers(), _Numbers()
    values, moments = list[NDArray[np.float64]](), list[NDArray[np.float64]]()
    told: dict[str, Description] = {}
    for part in parts:
        users.add(part.codes(columns.user))
        codes = part.codes(columns.item)
        if described is None:
            told |= _described(part, codes, items.known, columns)
        items.add(codes)
        rating = columns.rating
        values.append(_values(part, rating, marks, scale) if rating else np.ones(len(part)))
        if columns.time:
            moments.append(times(part, columns.time))
    if not users.known:
        raise DataError(f"{sources[0].path}: holds no interactions", hint="check the source")
    # In order of time here already, column by column: each is large.
    rows = np.argsort(_joined(moments), kind="stable") if moments else slice(None)
    return gather(
        users.codes(rows),
        items.codes(rows),
        _joined(values)[rows],
        scale=scale if columns.rating else "positive",
        described=described(items.known) if described else told,
        files=tuple(source.file for source in sources),
    )


def _values(part: Table, name: str, marks: Marks, scale: Scale) -> NDArray[np.float64]:
    # Hours have no scale; what means "none" does.
    return part.ratings(name, marks) if scale == "rating" else marks.ratings(part.numbers(name))


def _joined(rows: list[NDArray[N]]) -> NDArray[N]:
    """Return *rows* as one array, and forget the parts."""
    joined = np.concatenate(rows)
    rows.clear()
    return joined


def _described(
    part: Table, items: Codes, known: Mapping[str, int], columns: Columns
) -> dict[str, Description]:
    """Return what the first row of each item says that is not *known*."""
    firsts = np.unique(items.positions, return_index=True)[1]
    fresh = [place for place, name in enumerate(items.names) if name not in known]
    first = part.at(firsts[fresh])
    names = [items.names[place] for place in fresh]
    titles = first.texts_or_empty(columns.title) if columns.title else names
    groups = first.texts_or_empty(columns.categories) if columns.categories else [""] * len(names)
    return {
        name: Description(title, split_categories(group))
        for name, title, group in zip(names, titles, groups, strict=True)
    }


def descriptions(
    parts: Iterable[Table],
    columns: Columns,
    split: Callable[[str], Iterable[str]],
) -> Described:
    """Return what tells of items what the *columns* of *parts* say, a row for each.

    *split* makes categories of the text that holds them.
    """

    def told(known: Collection[str]) -> dict[str, Description]:
        return {
            name: Description(title, tuple(filter(None, map(clean_title, split(group)))))
            for part in parts
            for name, title, group in _rows(part, columns)
            if name in known
        }

    return told


def _rows(part: Table, columns: Columns) -> Iterable[tuple[str, str, str]]:
    nothing = [""] * len(part)
    titles = part.texts_or_empty(columns.title) if columns.title else nothing
    groups = part.texts_or_empty(columns.categories) if columns.categories else nothing
    return zip(part.texts(columns.item), titles, groups, strict=True)


def split_categories(text: str) -> tuple[str, ...]:
    """Return the categories of "Drama|War", also with ";" or "," where no "|" is."""
    separator = next((mark for mark in "|;," if mark in text), "|")
    return tuple(filter(None, (name.strip() for name in text.split(separator))))
