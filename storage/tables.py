"""Structs as tables, typed by their fields and not by what the rows came to hold."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias

import msgspec
import polars as pl
from msgspec import inspect

from engine.errors import DataError
from engine.text import first_line

Row: TypeAlias = dict[str, Any]
Schema: TypeAlias = Mapping[str, pl.DataType | type[pl.DataType]]

ROWS = 50_000
"""Rows that are held as Python objects at a time."""


def schema_of(kind: type[msgspec.Struct]) -> dict[str, pl.DataType | type[pl.DataType]]:
    """Return the columns of a table of *kind*; nested structs are structs there, too."""
    return {field.name: _column(field.type) for field in msgspec_fields(kind)}


def msgspec_fields(kind: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    """Return the fields of *kind* with what msgspec knows of their types."""
    info = inspect.type_info(kind)
    return info.fields if isinstance(info, inspect.StructType) else ()


_PLAIN: dict[type[inspect.Type], type[pl.DataType]] = {
    inspect.BoolType: pl.Boolean,
    inspect.IntType: pl.Int64,
    inspect.FloatType: pl.Float64,
}


def _column(kind: inspect.Type) -> pl.DataType | type[pl.DataType]:
    match kind:
        case inspect.UnionType(types=(known, inspect.NoneType())):
            return _column(known)
        case inspect.StructType(fields=fields):
            return pl.Struct({field.name: _column(field.type) for field in fields})
        case inspect.VarTupleType(item_type=part):
            return pl.List(_column(part))
        case inspect.TupleType(item_types=(part, *_)):
            return pl.List(_column(part))
    return _PLAIN.get(type(kind), pl.String)


def plain(value: Any) -> Any:
    """Return *value* as a row holds it: structs as dicts by name, tuples as lists."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return value


def frame_of(rows: Iterable[Row], schema: Schema) -> pl.DataFrame:
    """Return a table of *rows*, some of which at a time are Python objects.

    Raises DataError for what is not of its *schema*.
    """
    parts = [_part(part, schema) for part in _parts(iter(rows))]
    return joined(parts) if parts else pl.DataFrame(schema=schema)


def _parts(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while part := list(islice(rows, ROWS)):
        yield part


def _part(rows: list[Row], schema: Schema) -> pl.DataFrame:
    try:
        return pl.DataFrame(rows, schema=schema)
    except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        raise DataError(f"a table cannot be made: {first_line(error)}") from error


def joined(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of all *parts*, which stay where they are in memory."""
    return pl.concat(parts, rechunk=False)
