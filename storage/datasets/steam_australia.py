"""Steam's Australian users (UCSD): minutes of play, without dates.

The layout is that of https://cseweb.ucsd.edu/~jmcauley/datasets.html#steam_data: a Python literal a
line, `{'user_id': …, 'items': [{'item_id': …, 'playtime_forever': …}]}`. A game that was never
played is not rated. Some users are there twice: their first line counts. Games stand in the order
of their numbers, which says nothing of time: it is drawn.
"""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.errors import DataError
from engine.text import first_line
from storage.datasets.building import Recipe
from storage.datasets.collecting import collect
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Interactions, drawn
from storage.datasets.marks import Marks
from storage.datasets.sources import Source, files_in
from storage.datasets.table_files import Table, table_of

LONGEST = 4 << 20
"""Bytes of a line: while it is read a literal takes a hundred times as much."""

COLUMNS = Columns("user", "item", "minutes", None, "title", "categories")
MARKS = Marks(missing=0.0)

T = TypeVar("T")


class Play(msgspec.Struct, frozen=True):
    """A game that somebody has."""

    item_id: str
    item_name: str
    playtime_forever: int


class Player(msgspec.Struct, frozen=True):
    """Somebody and his games."""

    user_id: str
    items: list[Play]


class Game(msgspec.Struct, frozen=True):
    """What the shop says of a game, if it says anything."""

    id: str = ""
    genres: list[str] = []


def read(source: Path, _: Columns) -> Interactions:
    """Return the plays in directory *source*."""
    users = Source(files_in(source, "australian_users_items.json*")[0])
    shop = Source(files_in(source, "steam_games.json*")[0])
    genres = {game.id: "|".join(game.genres) for game in _literals(shop, Game)}
    again: list[int] = []
    data = collect(
        _plays(users, genres, again), COLUMNS, MARKS, scale="hours", sources=[users, shop]
    )
    merged = data.left_out.merged + sum(again)
    left_out = msgspec.structs.replace(data.left_out, merged=merged)
    return drawn(replace(data, left_out=left_out))


def _plays(users: Source, genres: dict[str, str], again: list[int]) -> Iterator[Table]:
    """Yield a table for each user; *again* gets the lengths of those who were there before."""
    seen: set[str] = set()
    for player in _literals(users, Player):
        plays = player.items
        if player.user_id in seen:
            again.append(len(plays))
        elif plays:
            columns = {
                "user": [player.user_id] * len(plays),
                "item": [play.item_id for play in plays],
                "minutes": [str(play.playtime_forever) for play in plays],
                "title": [play.item_name for play in plays],
                "categories": [genres.get(play.item_id, "") for play in plays],
            }
            yield table_of(users, columns, None)
        seen.add(player.user_id)


def _literals(source: Source, kind: type[T]) -> Iterator[T]:
    """Yield the Python literals in a file, one a line."""
    source.kind = "Python literals"
    for block in source.blocks():
        for number, line in enumerate(block.text.splitlines(), block.line):
            place = f"{source.path}:{number}"
            if len(line) > LONGEST:
                raise DataError(f"{place}: is a line of more than {LONGEST:,} bytes")
            try:
                yield msgspec.convert(ast.literal_eval(line.decode()), kind)
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
                raise DataError(f"{place}: {first_line(error)}", hint="check the source") from error


FORMAT = Format(
    summary="Steam in Australia: a directory with australian_users_items.json and"
    " steam_games.json, packed or not",
    read=read,
    recipe=Recipe(category_weight=0.3, beta_quantile=0.1, min_user=10, min_item=10),
)
