"""What every importer makes of its source: who met what, how much they liked it, in which order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.catalog import clean_title, distinct_titles
from storage.datasets.draws import order
from storage.environments import NOTHING, LeftOut, Randomised, SourceFile

T = TypeVar("T")

Scale: TypeAlias = Literal["rating", "hours", "positive"]
"""What a value is: a rating the user gave, hours of play, or only that there was something."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """Pairs of user and item with a value, no pair twice; a user's rows stand oldest first.

    *randomised* are ratings, beside these, of items that were shown to the same users at random.
    """

    user_names: tuple[str, ...]
    titles: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    values: NDArray[np.float64]
    scale: Scale
    files: tuple[SourceFile, ...] = ()
    left_out: LeftOut = NOTHING
    randomised: Randomised | None = None

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class Description:
    """What a source says of an item."""

    title: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Codes:
    """A column of identifiers as positions in *names*, which stand in order of appearance."""

    names: tuple[str, ...]
    positions: NDArray[np.int64] | NDArray[np.int32]


def encode(identifiers: Iterable[str]) -> Codes:
    """Return *identifiers* as positions among the different ones."""
    known: dict[str, int] = {}
    positions = [known.setdefault(name, len(known)) for name in identifiers]
    return Codes(tuple(known), np.array(positions, dtype=np.int64))


def gather(
    users: Codes,
    items: Codes,
    values: NDArray[np.float64],
    *,
    scale: Scale,
    described: Mapping[str, Description],
    times: NDArray[np.float64] | None = None,
    files: tuple[SourceFile, ...] = (),
) -> Interactions:
    """Return the interactions, by time where there is one (else as they stand), no pair twice.

    Rows whose value is NaN are left out. Of a pair that is there twice hours are summed, and the
    later rating counts. An item that nobody describes is called by its identifier.
    """
    told = [described.get(name, Description(name)) for name in items.names]
    titles = [clean_title(one.title) or name for one, name in zip(told, items.names, strict=True)]
    # Stable: at equal times the order of the source stands.
    rows = np.arange(len(values)) if times is None else np.argsort(times, kind="stable")
    rows = rows[~np.isnan(values[rows])]
    data = Interactions(
        user_names=users.names,
        titles=distinct_titles(titles),
        categories=tuple(tuple(dict.fromkeys(one.categories)) for one in told),
        users=users.positions[rows].astype(np.int64),
        items=items.positions[rows].astype(np.int64),
        values=values[rows],
        scale=scale,
        files=files,
        left_out=LeftOut(unrated=len(values) - len(rows)),
    )
    del rows  # of large data each column counts
    return _merge_pairs(data)


def _merge_pairs(data: Interactions) -> Interactions:
    last = _last(data)
    if len(last) == len(data):
        return data
    values = data.values[last]
    if data.scale == "hours":
        pairs = data.users * len(data.titles) + data.items
        group = np.unique(pairs, return_inverse=True)[1]
        values = np.bincount(group, weights=data.values)[group[last]]
    merged = msgspec.structs.replace(data.left_out, merged=len(data) - len(last))
    return select(replace(data, left_out=merged), last, values)


def _last(data: Interactions) -> NDArray[np.int64]:
    """Return the rows behind which their pair is not there again."""
    pairs = data.users * len(data.titles) + data.items
    rows = np.argsort(pairs, kind="stable")
    pairs = pairs[rows]
    ends = np.append(pairs[1:] != pairs[:-1], True)[: len(pairs)]
    last: NDArray[np.int64] = np.sort(rows[ends])
    return last


def select(
    data: Interactions, rows: NDArray[np.int64], values: NDArray[np.float64] | None = None
) -> Interactions:
    """Return only *rows* of *data*, with other *values* if given."""
    kept = data.values[rows] if values is None else values
    return replace(data, users=data.users[rows], items=data.items[rows], values=kept)


def drawn(data: Interactions) -> Interactions:
    """Return *data* in random order, where that of the source says nothing of time."""
    return select(data, order(0, "rows", len(data)))


def core(data: Interactions, min_user: int, min_item: int) -> Interactions:
    """Return the largest part where every user and item has so many interactions, numbered anew.

    Users and items without any are left out in any case; it may be that nothing is left.
    """
    kept = np.ones(len(data), dtype=np.bool_)
    # Without some users items fall short, and the other way round: until nothing changes.
    while True:
        users = np.bincount(data.users[kept], minlength=len(data.user_names)) >= max(min_user, 1)
        items = np.bincount(data.items[kept], minlength=len(data.titles)) >= max(min_item, 1)
        still = kept & users[data.users] & items[data.items]
        if still.sum() == kept.sum():
            break
        kept = still
    if kept.all() and users.all() and items.all():
        return data
    rows = np.flatnonzero(kept)
    left_out = msgspec.structs.replace(data.left_out, rare=len(data) - len(rows))
    return _renumbered(select(replace(data, left_out=left_out), rows), users, items)


def _renumbered(
    data: Interactions, users: NDArray[np.bool_], items: NDArray[np.bool_]
) -> Interactions:
    def chosen(own: Sequence[T], kept: NDArray[np.bool_]) -> tuple[T, ...]:
        return tuple(own[position] for position in np.flatnonzero(kept).tolist())

    return replace(
        data,
        user_names=chosen(data.user_names, users),
        titles=chosen(data.titles, items),
        categories=chosen(data.categories, items),
        users=(np.cumsum(users) - 1)[data.users],
        items=(np.cumsum(items) - 1)[data.items],
        randomised=data.randomised and data.randomised.within(users, items),
    )
