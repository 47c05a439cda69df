"""Book-Crossing: books rated from 1 to 10 by readers, without dates.

The layout is that of Ziegler's CSV dump (BX-CSV-Dump.zip, 2004): Latin-1, semicolons, all in
quotes, a backslash before a quote in quotes. A 0 says that somebody had the book, no more.
There are no genres: what books share is their author. Rows stand by user and book, so their order
says nothing of time: it is drawn.
"""

from pathlib import Path

from storage.datasets.building import Recipe
from storage.datasets.collecting import collect, descriptions
from storage.datasets.delimited import delimited
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Interactions, drawn
from storage.datasets.marks import Marks
from storage.datasets.sources import Source, files_in

COLUMNS = Columns("User-ID", "ISBN", "Book-Rating", None, "Book-Title", "Book-Author")
MARKS = Marks(scale=(1.0, 10.0), missing=0.0)


def read(source: Path, _: Columns) -> Interactions:
    """Return the ratings in directory *source*."""
    ratings, books = (
        Source(files_in(source, f"{name}.csv*")[0], "latin-1", escape="\\")
        for name in ("BX-Book-Ratings", "BX-Books")
    )
    return drawn(
        collect(
            delimited(ratings, ";"),
            COLUMNS,
            MARKS,
            described=descriptions(delimited(books, ";"), COLUMNS, lambda author: [author]),
            sources=[ratings, books],
        )
    )


FORMAT = Format(
    summary="Book-Crossing: a directory with BX-Book-Ratings.csv and BX-Books.csv",
    read=read,
    recipe=Recipe(min_user=5, min_item=5),
)
