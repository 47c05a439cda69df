"""Tables on disk: those of sources, and those of environments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import DataError
from engine.text import first_line
from storage.datasets.interactions import Codes
from storage.datasets.marks import Marks
from storage.datasets.parquet import unpacked_size
from storage.datasets.sources import LARGEST, Source
from storage.reading import open_regular

Column: TypeAlias = Sequence[str] | Sequence[Sequence[str]]

_SHOWN = 10


@dataclass(frozen=True, eq=False)
class Table:
    """A table that was read from a source, or a part of one; what is wrong is told with its place.

    *first_line* is the line in the file of the first row; None where rows are not lines.
    """

    source: Source
    frame: pl.DataFrame
    first_line: int | None

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def path(self) -> Path:
        """The file."""
        return self.source.path

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.frame.columns)

    @property
    def listed(self) -> str:
        """The names of the columns, of many the first, as a hint has them."""
        more = f" and {len(self.columns) - _SHOWN} more" if len(self.columns) > _SHOWN else ""
        return f"the columns are: {', '.join(self.columns[:_SHOWN])}{more}"

    def place(self, row: int) -> str:
        """Return where *row* stands, as an error names it."""
        if self.first_line is None:
            return f"{self.path}: row {row}"
        return f"{self.path}:{self.first_line + row}"

    def texts(self, name: str) -> list[str]:
        """Return the column *name*; raise DataError at the first gap."""
        return self._filled(name).to_list()

    def codes(self, name: str) -> Codes:
        """Return the column *name* of identifiers as positions; raise DataError at a gap."""
        column = self._filled(name)
        names = column.unique(maintain_order=True)
        # An Enum numbers its values as they are listed: here as they appear.
        positions = column.cast(pl.Enum(names)).to_physical().cast(pl.Int64).to_numpy()
        return Codes(tuple(names.to_list()), positions)

    def at(self, rows: NDArray[np.int64]) -> "Table":
        """Return only *rows*."""
        return replace(self, frame=self.frame[rows], first_line=None)

    def texts_or_empty(self, name: str) -> list[str]:
        """Return the column *name*, gaps as empty texts; lists are joined with "|"."""
        column = self._column(name)
        if isinstance(column.dtype, pl.List):
            column = column.list.join("|")
        return column.cast(pl.String).fill_null("").to_list()

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return the column *name* as finite numbers; raise DataError at the first that is not."""
        column = self._column(name)
        return self._checked(column, _as_numbers(column), "a number")

    def ratings(self, name: str, marks: Marks) -> NDArray[np.float64]:
        """Return the column *name* as ratings; raise DataError at the first off the scale.

        NaN stands for what *marks* say is none.
        """
        numbers = self.numbers(name)
        wrong = marks.wrong(numbers)
        if wrong.any():
            row, (low, high) = int(np.argmax(wrong)), marks.ends
            raise DataError(
                f"{self.place(row)}: expected a rating from {low:g} to {high:g}"
                f" in column {name!r}, got {self._column(name)[row]!r}",
                hint="scale all ratings to 1–5 first, or say how csv has them: --scale 0:10",
            )
        return marks.ratings(numbers)

    def times(
        self, name: str, *, written: str | None = None, unknown: float | None = None
    ) -> NDArray[np.float64]:
        """Return the column *name*, numbers or dates, as numbers that grow with time.

        Dates are *written* as strptime has it, or as is usual; gaps are *unknown*, or an error.
        """
        column = self._column(name)
        numbers = _as_numbers(column)
        dates = _as_dates(column, written) if numbers.null_count() else None
        kind = "a number or a date"
        if dates is not None and dates.null_count() < numbers.null_count():
            numbers, kind = _as_numbers(dates.to_physical()), "a date"
        if unknown is not None:
            gaps = column.is_null() | (column.cast(pl.String).str.strip_chars() == "")
            numbers = pl.select(pl.when(gaps).then(unknown).otherwise(numbers)).to_series()
        return self._checked(column, numbers, kind)

    def _checked(self, column: pl.Series, numbers: pl.Series, kind: str) -> NDArray[np.float64]:
        wrong = (numbers.is_null() | ~numbers.is_finite()).fill_null(value=True)
        if wrong.any():
            row = int(wrong.arg_true()[0])
            raise DataError(
                f"{self.place(row)}: expected {kind} in column {column.name!r},"
                f" got {column[row]!r}",
                hint="correct or remove the line",
            )
        return numbers.to_numpy()

    def _filled(self, name: str) -> pl.Series:
        column = self._column(name).cast(pl.String)
        gaps = column.is_null() | (column.str.strip_chars() == "")
        if gaps.any():
            row = int(gaps.arg_true()[0])
            raise DataError(f"{self.place(row)}: expected a value in column {name!r}, got none")
        return column

    def _column(self, name: str) -> pl.Series:
        if name not in self.frame.columns:
            raise DataError(f"{self.path}: has no column {name!r}", hint=self.listed)
        return self.frame[name]


def _as_numbers(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    return column.cast(pl.Float64, strict=False)


def _as_dates(column: pl.Series, written: str | None) -> pl.Series | None:
    """Return *column* as dates where it can be read so, or None if it holds nothing like dates."""
    if column.dtype.is_temporal():
        return column
    if column.dtype != pl.String:
        return None
    try:
        return column.str.strip_chars().str.to_datetime(written, strict=False)
    except pl.exceptions.PolarsError:  # no format fits the first value
        return None


def table_of(
    source: Source, columns: Mapping[str, Sequence[str | None]], line: int | None
) -> Table:
    """Return the table of these *columns* of texts, whose first row stands in *line*, if in one."""
    return Table(source, pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String())), line)


def read_parquet_source(source: Source) -> Table:
    """Return the table in a Parquet file of a source."""
    return Table(source, _parquet(source.read(), source.path), None)


def write_parquet(path: Path, columns: Mapping[str, Column], lists: Sequence[str] = ()) -> None:
    """Write *columns* of texts, all of one length, to *path*; those in *lists* hold lists."""
    kinds = {name: pl.List(pl.String) if name in lists else pl.String() for name in columns}
    pl.DataFrame(dict(columns), schema=kinds).write_parquet(path)


def read_parquet(path: Path) -> pl.DataFrame:
    """Return the table at *path*; raise DataError when it is missing or unreadable."""
    try:
        # The bytes are read here: a damaged file must not be mapped into memory.
        with open_regular(path) as file:
            data = file.read()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    return _parquet(data, path)


def _parquet(data: bytes, path: Path) -> pl.DataFrame:
    try:
        size = unpacked_size(data)
        if size > LARGEST:
            raise DataError(f"{path}: comes to {size:,} bytes, more than {LARGEST:,}")
        return pl.read_parquet(data)
    except ValueError as error:
        raise DataError(f"{path}: expected a Parquet file, got {first_line(error)!r}") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(f"{path}: expected a Parquet file, got {first_line(error)!r}") from error


def texts(table: pl.DataFrame, name: str, path: Path) -> tuple[str, ...]:
    """Return the column *name* of texts without gaps."""
    return tuple(_unshared(_column(table, name, pl.String(), path), path).to_list())


def lists(table: pl.DataFrame, name: str, path: Path) -> tuple[tuple[str, ...], ...]:
    """Return the column *name* of lists of texts."""
    column = _column(table, name, pl.List(pl.String), path)
    _unshared(column.explode(), path)
    return tuple(map(tuple, column.to_list()))


def _unshared(column: pl.Series, path: Path) -> pl.Series:
    """Return *column*; raise DataError if its texts are too large once each is held for itself."""
    size = int(column.str.len_bytes().sum())
    if size > LARGEST:
        raise DataError(f"{path}: comes to {size:,} bytes, more than {LARGEST:,}")
    return column


def _column(table: pl.DataFrame, name: str, kind: pl.DataType, path: Path) -> pl.Series:
    if name not in table.columns or table[name].dtype != kind or table[name].null_count():
        raise DataError(f"{path}: expected a column {name!r} of {kind}, got {table.schema}")
    return table[name]
