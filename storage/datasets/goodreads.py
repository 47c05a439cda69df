"""Goodreads (UCSD Book Graph): what readers put on their shelves, and how many stars they gave it.

The layout is that of https://github.com/MengtingWan/goodreads (samples.ipynb), in full or of one
genre. 0 stars mean that the reader did not rate.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from storage.datasets.building import Recipe
from storage.datasets.collecting import Described, collect, descriptions
from storage.datasets.delimited import delimited
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Description, Interactions
from storage.datasets.json_lines import json_lines
from storage.datasets.marks import Marks
from storage.datasets.sources import Source, files_in
from storage.datasets.table_files import Table

SHELVES = Columns("user_id", "book_id", "rating", "date_updated")
MARKS = Marks(missing=0.0)
_WRITTEN = "%a %b %d %H:%M:%S %z %Y"  # Thu Aug 17 15:15:35 -0700 2017


def read(source: Path, _: Columns) -> Interactions:
    """Return the ratings in directory *source*: the JSON lines, or the table without dates."""
    books = Source(files_in(source, "goodreads_books*.json*")[0])
    genres = Source(files_in(source, "goodreads_book_genres*.json*")[0])
    told = _described(books, genres)
    kept = files_in(source, "goodreads_interactions*.json*", "goodreads_interactions*.csv*")[0]
    shelves = Source(kept)
    if ".json" in kept.name:
        names = [SHELVES.user, SHELVES.item, "rating", "date_updated"]
        return collect(
            json_lines(shelves, names),
            SHELVES,
            MARKS,
            times=partial(Table.times, written=_WRITTEN),
            described=told,
            sources=[shelves, books, genres],
        )
    # There books have numbers of the table's own.
    ids = Source(files_in(source, "book_id_map.csv*")[0])
    return collect(
        delimited(shelves, ","),
        Columns("user_id", "book_id", "rating"),
        MARKS,
        described=partial(_numbered, told, ids),
        sources=[shelves, books, genres, ids],
    )


def _described(books: Source, genres: Source) -> Described:
    named = Columns(item="book_id", title="title")
    titles = descriptions(json_lines(books, ["book_id", "title"]), named, _listed)
    sorted_in = Columns(item="book_id", categories="genres")
    groups = descriptions(json_lines(genres, ["book_id", "genres"]), sorted_in, _listed)

    def told(known: Collection[str]) -> dict[str, Description]:
        named, grouped = titles(known), groups(known)
        nothing = Description("")
        return {
            book: Description(named.get(book, nothing).title, grouped.get(book, nothing).categories)
            for book in {**named, **grouped}
        }

    return told


def _listed(text: str) -> list[str]:
    return text.split("|")


def _numbered(told: Described, ids: Source, known: Collection[str]) -> dict[str, Description]:
    """Return what is *told* of books whose numbers in the table are *known*."""
    books = {
        book: number
        for part in delimited(ids, ",")
        for number, book in zip(part.texts("book_id_csv"), part.texts("book_id"), strict=True)
        if number in known
    }
    return {books[book]: description for book, description in told(books).items()}


FORMAT = Format(
    summary="Goodreads: a directory with goodreads_interactions*, goodreads_books*.json.gz and"
    " goodreads_book_genres_initial.json.gz",
    read=read,
    recipe=Recipe(min_user=10, min_item=10),
)
