"""JSON lines: one object a line, as tables of texts."""

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from engine.errors import DataError
from engine.text import first_line
from storage.datasets.sources import Block, Source
from storage.datasets.table_files import Table, table_of

_LOOKED_AT = 100  # objects, for the names of columns
_WRONG = (msgspec.MsgspecError, RecursionError)


def json_lines(source: Source, columns: Sequence[str] = ()) -> Iterator[Table]:
    """Yield the objects in a file as tables of *columns*, or of all that the first ones have.

    Lists are joined with "|", and so are the names in an object within an object.
    """
    source.kind = "JSON lines"
    names = tuple(columns)
    for block in source.blocks():
        names = names or _names(source, block)
        fields = [(f"f{at}", object, None) for at in range(len(names))]
        called = {field: name for (field, *_), name in zip(fields, names, strict=True)}
        decoder = msgspec.json.Decoder(msgspec.defstruct("Line", fields, rename=called))
        try:
            rows = decoder.decode_lines(block.text)
        except _WRONG as error:
            raise _misread(source, block, error) from error
        texts = {name: [_text(getattr(r, field)) for r in rows] for field, name in called.items()}
        yield table_of(source, texts, block.line)


def _names(source: Source, block: Block) -> tuple[str, ...]:
    decoder, known = msgspec.json.Decoder(dict[str, object]), dict[str, object]()
    for line in islice(filter(bytes.strip, block.text.splitlines()), _LOOKED_AT):
        try:
            known |= decoder.decode(line)
        except _WRONG as error:
            raise _misread(source, block, error) from error
    return tuple(known)


def _misread(source: Source, block: Block, error: Exception) -> DataError:
    """Return an error that names the first line that is no object."""
    place = str(source.path)
    for number, line in enumerate(block.text.splitlines(), block.line):
        try:
            msgspec.json.decode(line or b"{}", type=dict[str, object])
        except _WRONG as wrong:
            place, error = f"{place}:{number}", wrong
            break
    hint = "give one JSON object a line (jq -c '.[]' makes lines of a list)"
    return DataError(f"{place}: {first_line(error)}", hint=hint)


def _text(value: object, depth: int = 2) -> str | None:
    match value:
        case None | str():
            return value
        case bool():
            return str(int(value))
        case list() | dict():
            parts = value if depth else ()
            return "|".join(filter(None, (_text(part, depth - 1) for part in parts)))
        case _:
            return str(value)
