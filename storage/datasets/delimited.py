"""Tables in text files: a row a line, columns parted by a character or several."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from engine.errors import DataError
from engine.text import first_line
from storage.datasets.sources import Source
from storage.datasets.table_files import Table


def read_delimited(
    path: Path,
    separator: str,
    *,
    header: Sequence[str] = (),
    quote: str | None = '"',
    encoding: str = "utf-8",
) -> Table:
    """Return the table in a text file, all columns texts, named by *header* or by its first line.

    *separator* may be longer than one character. Raises DataError where the file is missing,
    empty, in another encoding, or has a line of another length.
    """
    source = Source(path, encoding)
    parts = [*delimited(source, separator, header=header, quote=quote)]
    frame = pl.concat([part.frame for part in parts])
    return Table(source, frame, parts[0].first_line)


def delimited(
    source: Source,
    separator: str,
    *,
    header: Sequence[str] = (),
    quote: str | None = '"',
    numbered: bool = False,
) -> Iterator[Table]:
    """Yield the table in a text file part by part; where *numbered* columns have numbers as names.

    As `read_delimited` otherwise.
    """
    # Polars takes one byte: that by which ASCII parts units, which texts do not hold.
    byte = separator if len(separator) == 1 else "\x1f"
    top = b""
    for block in source.blocks(quote):
        text = block.text.replace(separator.encode(), byte.encode()).rstrip(b"\r\n")
        line = block.line
        if not text.strip():
            continue
        if not top:
            first, _, rest = text.partition(b"\n")
            names = map(str, range(first.count(byte.encode()) + 1)) if numbered else header
            top = byte.join(names).encode() or first
            if top is first:
                text, line = rest, line + 1
        try:
            frame = pl.read_csv(
                top + b"\n" + text,
                separator=byte,
                quote_char=quote,
                # All as texts: an identifier such as 007 is to keep its zeros.
                infer_schema=False,
            )
        except pl.exceptions.PolarsError as error:
            raise _ragged(source.path, top, text, byte, line, error) from error
        yield Table(source, frame, line)
    if not top:
        raise DataError(f"{source.path}: is empty", hint="check the source")


def _ragged(
    path: Path, top: bytes, text: bytes, separator: str, first: int, error: Exception
) -> DataError:
    """Return an error that names the first line with more columns than the top one."""
    columns = top.count(separator.encode())
    for number, line in enumerate(text.split(b"\n"), start=first):
        if line.count(separator.encode()) > columns and b'"' not in line:
            found = line.count(separator.encode()) + 1
            return DataError(
                f"{path}:{number}: expected {columns + 1} columns, got {found}",
                hint="put values that hold the separator in quotes",
            )
    return DataError(
        f"{path}: expected a table, got {first_line(error)!r}",
        hint="check the quotes and the separator",
    )
