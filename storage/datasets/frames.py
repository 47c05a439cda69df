"""Tables on disk; the only file that knows polars."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import polars as pl

from engine.errors import DataError

Column: TypeAlias = Sequence[str] | Sequence[Sequence[str]]


def write_parquet(path: Path, columns: Mapping[str, Column], lists: Sequence[str] = ()) -> None:
    """Write *columns* of texts, all of one length, to *path*; those in *lists* hold lists."""
    kinds = {name: pl.List(pl.String) if name in lists else pl.String() for name in columns}
    pl.DataFrame(dict(columns), schema=kinds).write_parquet(path)


def read_parquet(path: Path) -> pl.DataFrame:
    """Return the table at *path*; raise DataError when it is missing or unreadable."""
    try:
        # The bytes are read here: a damaged file must not be mapped into memory.
        return pl.read_parquet(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: expected a Parquet file, got {first_line(error)!r}") from error


def texts(table: pl.DataFrame, name: str, path: Path) -> tuple[str, ...]:
    """Return the column *name* of texts without gaps."""
    return tuple(_column(table, name, pl.String(), path).to_list())


def lists(table: pl.DataFrame, name: str, path: Path) -> tuple[tuple[str, ...], ...]:
    """Return the column *name* of lists of texts."""
    return tuple(map(tuple, _column(table, name, pl.List(pl.String), path).to_list()))


def _column(table: pl.DataFrame, name: str, kind: pl.DataType, path: Path) -> pl.Series:
    if name not in table.columns or table[name].dtype != kind or table[name].null_count():
        raise DataError(f"{path}: expected a column {name!r} of {kind}, got {table.schema}")
    return table[name]


def first_line(error: BaseException) -> str:
    """Return the first line of what *error* says."""
    return next(iter(str(error).splitlines()), type(error).__name__)
