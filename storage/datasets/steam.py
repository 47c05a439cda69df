"""Steam Video Games (steam-200k): hours of play, without dates.

The rows of a user stand by falling hours, so their order says nothing of time: it is drawn.
"""

from pathlib import Path

import numpy as np

from storage.datasets.building import Recipe
from storage.datasets.delimited import read_delimited
from storage.datasets.draws import order
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Codes, Description, Interactions, gather
from storage.datasets.table_files import Table

PLAYS = "game_play.dat"
TITLES = "item_info.dat"
GENRES = "title_genre_match.csv"


def read(source: Path, _: Columns) -> Interactions:
    """Return the plays in directory *source*; genres come from title_genre_match.csv if there."""
    plays = read_delimited(source / PLAYS, "\t", quote=None)
    titles = read_delimited(source / TITLES, "\t", quote=None)
    tables = [plays, titles]
    genres: dict[str, tuple[str, ...]] = {}
    if (source / GENRES).exists():
        tables.append(read_delimited(source / GENRES, ","))
        genres = _genres(tables[-1])
    names = dict(zip(titles.texts("Game_ID"), titles.texts("Game Name"), strict=True))
    described = {
        game: Description(title=title, categories=genres.get(game, ()))
        for game, title in names.items()
    }
    hours = plays.numbers("Hours")
    rows = order(0, "steam order", len(hours))
    users, games = plays.codes("User_ID"), plays.codes("Game_ID")
    return gather(
        Codes(users.names, users.positions[rows]),
        Codes(games.names, games.positions[rows]),
        np.ascontiguousarray(hours[rows]),
        scale="hours",
        described=described,
        files=tuple(table.source.file for table in tables),
    )


def _genres(table: Table) -> dict[str, tuple[str, ...]]:
    rows = zip(table.texts("Game_ID"), table.texts_or_empty("genres"), strict=True)
    return {game: tuple(filter(None, genres.split("|"))) for game, genres in rows}


FORMAT = Format(
    summary="Steam Video Games: a directory with game_play.dat and item_info.dat",
    read=read,
    recipe=Recipe(category_weight=0.3, beta_quantile=0.1, min_user=10, min_item=10),
)
