"""A trace as Parquet tables, one for each message type."""

from collections import defaultdict
from pathlib import Path
from typing import Any, TypeAlias, get_args

import msgspec
import polars as pl

from engine.errors import DataError
from engine.messages import Message
from storage.datasets.table_files import first_line
from storage.traces import decode_line, read_lines

_ROWS = 50_000  # of a type that are held as Python objects
_KINDS = {kind.__name__: msgspec.structs.fields(kind) for kind in get_args(Message)}
_FIELDS = {name: [field.name for field in fields] for name, fields in _KINDS.items()}
_DEFAULTS = {  # which a trace leaves out
    name: {field.name: field.default for field in fields if field.default is not msgspec.NODEFAULT}
    for name, fields in _KINDS.items()
}


def export_trace(trace: Path, directory: Path) -> dict[Path, int]:
    """Write `TYPE.parquet` for each type of message in *trace*; return the rows of each.

    Columns are episode, n, cause, time and the message's fields; nested ones are lists of structs.
    A column has the same type in the tables of all runs, whatever they came to hold.
    Raises DataError if *directory* is not empty or cannot be written.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DataError(f"{directory}: exists and is not empty", hint="choose another directory")
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    frames: dict[str, list[pl.DataFrame]] = defaultdict(list)
    for number, line in read_lines(trace):
        kind, row = _row(msgspec.to_builtins(decode_line(trace, number, line)))
        rows[kind].append(row)
        if len(rows[kind]) >= _ROWS:
            frames[kind].append(_frame(rows.pop(kind)))
    for kind, last in rows.items():
        frames[kind].append(_frame(last))
    return _write(frames, directory)


def _row(envelope: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    message = envelope.pop("message")
    kind = str(message.pop("type"))
    fields = _DEFAULTS[kind] | message
    return kind, envelope | {name: _named(name, fields[name]) for name in _FIELDS[kind]}


_Types: TypeAlias = dict[str, pl.DataType | type[pl.DataType]]

_RECALLED: _Types = {"position": pl.Int64, "episode": pl.Int64, "distance": pl.Float64}
_SAID = pl.List(pl.List(pl.String))
_NESTED: dict[str, _Types] = {
    "history": {"item": pl.Int64, "title": pl.String, "rating": pl.Float64},
    "memories": {"memory": pl.String, "length": pl.Int64},
    "reflections": _RECALLED,
    "recalled": _RECALLED,
    "tools": {"tool": pl.String, "text": pl.String},
    "settings": {"name": pl.String, "value": pl.String},
    "forks": {"parent": pl.String, "episode": pl.Int64, "step": pl.Int64, "said": _SAID},
}
_TYPES: _Types = {  # that rows of null or () would not tell
    **{"episode": pl.Int64, "cause": pl.Int64, "reason": pl.String},
    **{name: pl.List(pl.Struct(parts)) for name, parts in _NESTED.items()},
}


def _named(name: str, value: Any) -> Any:
    """Return *value* with names for the parts of its rows."""
    names = _NESTED.get(name)
    if names is None:
        return value
    rows = [dict(zip(names, row, strict=True)) for row in value]
    if name == "settings":  # of several types, which a column cannot be
        return [row | {"value": str(row["value"])} for row in rows]
    return rows


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    types = {name: _TYPES[name] for name in rows[0] if name in _TYPES}
    try:
        return pl.DataFrame(rows, schema_overrides=types, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:  # numbers of more than 64 bits, from elsewhere
        raise DataError(f"a table cannot be made of the trace: {first_line(error)}") from error


def _write(frames: dict[str, list[pl.DataFrame]], directory: Path) -> dict[Path, int]:
    written: dict[Path, int] = {}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for kind, parts in sorted(frames.items()):
            table = pl.concat(parts, how="diagonal_relaxed")
            table.write_parquet(directory / f"{kind}.parquet")
            written[directory / f"{kind}.parquet"] = table.height
    except pl.exceptions.PolarsError as error:
        raise DataError(f"a table cannot be made of the trace: {first_line(error)}") from error
    except OSError as error:
        raise DataError(f"{directory}: cannot be written: {error.strerror}") from error
    return written
