"""What a GGUF file says of itself, at its beginning: its weights are not looked at.

The format is of github.com/ggml-org/ggml, docs/gguf.md: `GGUF`, a version, counts, and then names
with values of thirteen types, all little-endian. Some tools write more than is needed here, and a
file may come from anybody: lengths are bounded, and long lists are passed over.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from engine.errors import ConfigError
from storage.reading import open_regular

SUFFIX = ".gguf"
Value: TypeAlias = int | float | bool | str | tuple[int, ...] | None

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_KEYS = 4_096  # of a file
_LONGEST = 1 << 20  # bytes of a text: templates have some thousands
_ENTRIES = 1 << 22  # of a list: vocabularies have a quarter of a million
_KEPT = 1_024  # of a list of numbers, one for each layer
_FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_HALF = 2  # bytes of a number in the cache of keys and values


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A GGUF file: *size* in bytes, the *context* in tokens that the model was trained for.

    *token_bytes* is what a token takes in the cache of keys and values. *template* says whether it
    knows how a chat is written down.
    """

    path: Path
    size: int
    architecture: str
    context: int
    token_bytes: int
    template: bool


def read_weights(path: Path) -> Weights:
    """Return what the file at *path* says of itself; raises ConfigError if it is no GGUF file."""
    try:
        with open_regular(path) as file:
            said = _read(file)
            size = path.stat().st_size
    except OSError as error:
        what = f"{path}: cannot be read: {error.strerror}"
        raise ConfigError(what, hint="billp models lists the models that are at hand") from error
    except ValueError as error:
        hint = "it may be of another format, or cut off: compare it with where it came from"
        raise ConfigError(f"{path}: not a GGUF file: {error}", hint=hint) from error
    family = str(said.get("general.architecture", ""))
    return Weights(
        path=path,
        size=size,
        architecture=family,
        context=_number(said, f"{family}.context_length"),
        token_bytes=_token_bytes(said, family),
        template=bool(said.get("tokenizer.chat_template")),
    )


def _token_bytes(said: Mapping[str, Value], family: str) -> int:
    layers = _number(said, f"{family}.block_count")
    heads = _number(said, f"{family}.attention.head_count") or 1
    each = _number(said, f"{family}.embedding_length") // heads
    keys = _number(said, f"{family}.attention.key_length") or each
    values = _number(said, f"{family}.attention.value_length") or each
    shared = said.get(f"{family}.attention.head_count_kv")
    kept = sum(shared) if isinstance(shared, tuple) else layers * int(shared or heads)
    return kept * (keys + values) * _HALF


def _number(said: Mapping[str, Value], name: str) -> int:
    value = said.get(name)
    if isinstance(value, tuple):
        return max(value, default=0)
    return int(value) if isinstance(value, int) else 0


def _read(file: BinaryIO) -> dict[str, Value]:
    """Return the names and values of a file; raises ValueError."""
    if file.read(4) != _MAGIC:
        raise ValueError("it does not begin with GGUF")
    version = _whole(file, "I")
    if version not in _VERSIONS:
        raise ValueError(f"expected version 2 or 3, got {version}")
    _whole(file, "Q")  # how many tensors there are
    count = _whole(file, "Q")
    if count > _KEYS:
        raise ValueError(f"it has {count:,} names")
    return {_text(file): _value(file, _whole(file, "I")) for _ in range(count)}


def _value(file: BinaryIO, kind: int) -> Value:
    if kind == _TEXT:
        return _text(file)
    if kind == _LIST:
        return _list(file, _whole(file, "I"), _whole(file, "Q"))
    return _unpacked(file, _form(kind))


def _list(file: BinaryIO, kind: int, count: int) -> Value:
    """Return a short list of numbers; pass over any other."""
    if count > _ENTRIES:
        raise ValueError(f"it has a list of {count:,}")
    if kind == _TEXT:
        for _ in range(count):
            _skip(file, _whole(file, "Q"))
        return None
    form = _form(kind)
    if count > _KEPT or form in "fd":
        _skip(file, count * struct.calcsize(f"<{form}"))
        return None
    return tuple(int(_unpacked(file, form)) for _ in range(count))


def _form(kind: int) -> str:
    if kind not in _FORMS:
        raise ValueError(f"it has a value of type {kind}, which there is not")
    return _FORMS[kind]


def _text(file: BinaryIO) -> str:
    return _bytes(file, _whole(file, "Q")).decode("utf-8", "replace")


def _whole(file: BinaryIO, form: str) -> int:
    return int(_unpacked(file, form))


def _unpacked(file: BinaryIO, form: str) -> int | float:
    packed = f"<{form}"
    number: int | float = struct.unpack(packed, _bytes(file, struct.calcsize(packed)))[0]
    return number


def _bytes(file: BinaryIO, count: int) -> bytes:
    if count > _LONGEST:
        raise ValueError(f"it has a text of {count:,} bytes")
    content = file.read(count)
    if len(content) < count:
        raise ValueError("it ends too early")
    return content


def _skip(file: BinaryIO, count: int) -> None:
    if count > _ENTRIES * 8:
        raise ValueError(f"it has a text of {count:,} bytes")
    file.seek(count, 1)
