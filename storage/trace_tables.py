"""A trace as Parquet tables, one for each message type."""

from collections import defaultdict
from pathlib import Path
from typing import get_args

import polars as pl

from engine.errors import DataError
from engine.messages import Envelope, Message, RunStarted
from engine.text import first_line
from storage import tables
from storage.tables import Row
from storage.traces import read_kind, read_trace

_SCHEMAS = {
    kind.__name__: {
        **dict.fromkeys(("episode", "n", "cause", "time"), pl.Int64),
        **tables.schema_of(kind),
    }
    for kind in get_args(Message)
}
_SCHEMAS[RunStarted.__name__]["settings"] = pl.List(
    pl.Struct({"name": pl.String, "value": pl.String})  # of several types, which no column can be
)


def export_trace(trace: Path, directory: Path) -> dict[Path, int]:
    """Write `TYPE.parquet` for each type of message in *trace*; return the rows of each.

    Columns are episode, n, cause, time and the message's fields; nested ones are lists of structs.
    A column has the same type in the tables of all runs, whatever they came to hold.
    Raises DataError if *directory* is not empty or cannot be written.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DataError(f"{directory}: exists and is not empty", hint="choose another directory")
    rows: dict[str, list[Row]] = defaultdict(list)
    frames: dict[str, list[pl.DataFrame]] = defaultdict(list)
    for envelope in read_trace(trace):
        kind = type(envelope.message).__name__
        rows[kind].append(_row(envelope))
        if len(rows[kind]) >= tables.ROWS:
            frames[kind].append(tables.frame_of(rows.pop(kind), _SCHEMAS[kind]))
    for kind, last in rows.items():
        frames[kind].append(tables.frame_of(last, _SCHEMAS[kind]))
    return _write(frames, directory)


def read_table(trace: Path, kind: type[Message]) -> pl.DataFrame:
    """Return the table of the messages of type *kind* in *trace*; raises TraceError."""
    return tables.frame_of(map(_row, read_kind(trace, kind)), _SCHEMAS[kind.__name__])


def _row(envelope: Envelope[Message]) -> Row:
    row: Row = {name: getattr(envelope, name) for name in ("episode", "n", "cause", "time")}
    row.update(tables.plain(envelope.message))
    if isinstance(envelope.message, RunStarted):
        row["settings"] = [{"name": n, "value": str(v)} for n, v in envelope.message.settings]
    return row


def _write(frames: dict[str, list[pl.DataFrame]], directory: Path) -> dict[Path, int]:
    written: dict[Path, int] = {}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for kind, parts in sorted(frames.items()):
            table = tables.joined(parts)
            table.write_parquet(directory / f"{kind}.parquet")
            written[directory / f"{kind}.parquet"] = table.height
    except pl.exceptions.PolarsError as error:
        raise DataError(f"a table cannot be made of the trace: {first_line(error)}") from error
    except OSError as error:
        raise DataError(f"{directory}: cannot be written: {error.strerror}") from error
    return written
