"""Any table of one interaction a line: comma, tab, semicolon, JSON lines or Parquet."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from engine.errors import DataError
from storage.datasets.collecting import collect
from storage.datasets.delimited import delimited
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Interactions
from storage.datasets.json_lines import json_lines
from storage.datasets.marks import marks_of
from storage.datasets.sources import PARQUET, Source
from storage.datasets.table_files import Table, read_parquet_source

SEPARATORS = "\t;,"
_SPELLED = {"tab": "\t", "\\t": "\t"}  # a tab is hard to type
_USUAL = ("rating", "time", "title", "categories")


def read(source: Path, columns: Columns) -> Interactions:
    """Return the interactions in *source*; without a rating column they are all positive.

    What is packed by gzip, JSON lines and Parquet are told by their first bytes.
    """
    marks = marks_of(columns.form.scale, columns.form.missing)
    if source.is_dir():
        raise DataError(f"{source}: is a directory", hint="give the file that holds the table")
    file = Source(source, columns.form.encoding)
    parts = _parts(file, columns)
    first = next(parts)
    return collect(chain([first], parts), _found(first, columns), marks, sources=[file])


def _parts(file: Source, columns: Columns) -> Iterator[Table]:
    begins = file.begins
    if begins.startswith(PARQUET) or file.path.suffix in {".parquet", ".pq"}:
        return iter([read_parquet_source(file)])
    if begins.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in {b"{", b"["}:
        return json_lines(file)
    top = begins.partition(b"\n")[0].decode("latin-1")
    separator = columns.separator or max(SEPARATORS, key=top.count)
    separator = _SPELLED.get(separator, separator)
    return delimited(file, separator, numbered=columns.form.no_header)


def _found(table: Table, columns: Columns) -> Columns:
    """Return the columns to read: those that were named, and the usual ones that are there."""
    for option, name in (("user", columns.user), ("item", columns.item)):
        if name not in table.columns:
            raise DataError(
                f"{table.path}: has no column {name!r} for the {option}",
                hint=f"name it with --{option}; {table.listed}",
            )
    usual = {name: name for name in _USUAL if name in table.columns}
    named = {name: getattr(columns, name) for name in _USUAL if getattr(columns, name) is not None}
    return replace(columns, **(usual | named))


FORMAT = Format(
    summary="a table, one interaction a line: comma, tab, semicolon, JSON lines or Parquet, also"
    " packed by gzip; see --user …",
    read=read,
    columns=True,
)
