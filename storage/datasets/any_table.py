"""Any table of one interaction a line: comma, tab, semicolon, or Parquet."""

from pathlib import Path

import numpy as np

from engine.errors import DataError
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Codes, Description, Interactions, gather
from storage.datasets.table_files import (
    Table,
    decoded,
    read_delimited,
    read_parquet_source,
    read_source,
)

SEPARATORS = "\t;,"
_SPELLED = {"tab": "\t", "\\t": "\t"}  # a tab is hard to type


def read(source: Path, columns: Columns) -> Interactions:
    """Return the interactions in *source*; without a rating column they are all positive."""
    table = _open(source, columns.separator)
    if not len(table):
        raise DataError(f"{source}: holds no interactions", hint="check the source")
    _require(table, columns)
    rating = _present(table, columns.rating, "rating")
    time = _present(table, columns.time, "time")
    items = table.codes(columns.item)
    return gather(
        table.codes(columns.user),
        items,
        table.ratings(rating) if rating else np.ones(len(table)),
        scale="rating" if rating else "positive",
        described=_described(table, items, columns),
        times=table.times(time) if time else None,
        files=(table.source,),
    )


def _open(source: Path, separator: str) -> Table:
    if source.is_dir():
        raise DataError(f"{source}: is a directory", hint="give the file that holds the table")
    if source.suffix in {".parquet", ".pq"}:
        return read_parquet_source(source)
    if not separator:
        header = decoded(read_source(source), source).partition("\n")[0]
        separator = max(SEPARATORS, key=header.count)
    return read_delimited(source, _SPELLED.get(separator, separator))


def _require(table: Table, columns: Columns) -> None:
    for option, name in (("user", columns.user), ("item", columns.item)):
        if name not in table.columns:
            there = ", ".join(table.columns)
            raise DataError(
                f"{table.path}: has no column {name!r} for the {option}",
                hint=f"name it with --{option}; the columns are: {there}",
            )


def _present(table: Table, name: str | None, usual: str) -> str | None:
    """Return the column to read: the one that was named, or the usual one if it is there."""
    if name is not None:
        return name
    return usual if usual in table.columns else None


def _described(table: Table, items: Codes, columns: Columns) -> dict[str, Description]:
    """Return what the first line of each item says of it."""
    first = table.at(np.unique(items.positions, return_index=True)[1])
    title = _present(table, columns.title, "title")
    categories = _present(table, columns.categories, "categories")
    titles = first.texts_or_empty(title) if title else items.names
    names = first.texts_or_empty(categories) if categories else [""] * len(first)
    return {
        item: Description(text, _split(group))
        for item, text, group in zip(items.names, titles, names, strict=True)
    }


def _split(text: str) -> tuple[str, ...]:
    """Return the categories of "Drama|War", also with ";" or "," where no "|" is."""
    separator = next((mark for mark in "|;," if mark in text), "|")
    return tuple(filter(None, (name.strip() for name in text.split(separator))))


FORMAT = Format(
    summary="a table, one interaction a line: comma, tab, semicolon or Parquet; see --user …",
    read=read,
    columns=True,
)
