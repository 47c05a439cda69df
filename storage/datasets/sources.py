"""Files of a source as they come: packed or not, in some encoding, a block of lines at a time."""

import zlib
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import chain
from pathlib import Path
from zlib import decompressobj

from engine.errors import ConfigError, DataError
from storage.environments import SourceFile
from storage.reading import LONGEST_LINE, open_regular

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
LARGEST = 4 << 30
"""Bytes that are held at once, unpacked."""

_BLOCK = 16 << 20
_HEAD = 1 << 12
_OF_GZIP = 31


@dataclass(frozen=True)
class Block:
    """Whole lines of a file in UTF-8; *line* is the number of the first."""

    text: bytes
    line: int


def files_in(directory: Path, *patterns: str) -> list[Path]:
    """Return the files in *directory* that match the first of *patterns* that any does, by name.

    Raises DataError where none does.
    """
    for pattern in patterns:
        if found := sorted(directory.glob(pattern)):
            return found
    hint = "give the directory that the archive unpacks to"
    raise DataError(f"{directory}: holds no {' or '.join(patterns)}", hint=hint)


class Source:
    """A file that is read once, from its beginning to its end, in bounded memory.

    *escape* is what stands before a quote within quotes, if it is not another quote.
    """

    def __init__(self, path: Path, encoding: str = "utf-8", *, escape: str = "") -> None:
        self.path = path
        self._encoding = encoding
        self._escaped = escape.encode() + b'"' if escape else b""
        self._digest = sha256()
        self._packed = False
        self.kind = ""
        """What the file was found to be, where its name does not say it."""

    @cached_property
    def begins(self) -> bytes:
        """The first bytes, unpacked."""
        return next(self._pieces(), b"")[:_HEAD]

    @property
    def file(self) -> SourceFile:
        """What the provenance keeps of the file, once it was read."""
        packed = "gzip" if self._packed else ""
        kind = ", ".join(filter(None, (packed, self.kind)))
        return SourceFile(name=self.path.name, sha256=self._digest.hexdigest(), kind=kind)

    def blocks(self, quote: str | None = None) -> Iterator[Block]:
        """Yield the file in blocks of whole lines; between two of *quote* no line ends."""
        line, rest = 1, b""
        for text in self._decoded():
            rest += text
            if self._escaped:  # a quote in quotes; those who read tables expect it twice
                rest = rest.replace(self._escaped, b'""')
            end = _end(rest, quote.encode() if quote else b"")
            if end:
                yield Block(rest[:end], line)
                line += rest.count(b"\n", 0, end)
                rest = rest[end:]
            elif len(rest) > LONGEST_LINE:
                reason = f"has a row of more than {LONGEST_LINE:,} bytes"
                raise DataError(f"{self.path}:{line}: {reason}", hint="check its quotes")
        if rest:
            yield Block(rest, line)

    def read(self) -> bytes:
        """Return all of the file as it is, unpacked."""
        pieces, size = [], 0
        for piece in self._pieces():
            size += len(piece)
            if size > LARGEST:
                raise DataError(f"{self.path}: comes to more than {LARGEST:,} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def _decoded(self) -> Iterator[bytes]:
        """Yield the text of the file in UTF-8, without the mark that some begin it with."""
        try:
            decoder = getincrementaldecoder(self._encoding)()
        except LookupError as error:
            raise ConfigError(
                f"there is no encoding {self._encoding!r}", hint="such as utf-8 or latin-1"
            ) from error
        line = 1
        for number, piece in enumerate(self._pieces()):
            try:
                text = decoder.decode(piece)
            except UnicodeDecodeError as error:
                line += error.object.count(b"\n", 0, error.start)
                raise self._undecoded(line, error.object[error.start]) from error
            line += text.count("\n")
            yield (text if number else text.removeprefix("\ufeff")).encode()
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise self._undecoded(line, error.object[error.start]) from error

    def _undecoded(self, line: int, byte: int) -> DataError:
        hint = "save it as UTF-8, or say how a csv source is written: --encoding latin-1"
        expected = self._encoding.upper()
        return DataError(
            f"{self.path}:{line}: expected {expected}, got byte 0x{byte:02x}", hint=hint
        )

    def _pieces(self) -> Iterator[bytes]:
        """Yield what the file holds, unpacked."""
        raw = self._raw()
        first = next(raw, b"")
        self._packed = first.startswith(GZIP)
        every = chain([first], raw)
        try:
            yield from filter(None, _unpacked(every) if self._packed else every)
        except (EOFError, zlib.error) as error:
            raise DataError(f"{self.path}: is packed, and damaged: {error}") from error

    def _raw(self) -> Iterator[bytes]:
        self._digest = sha256()
        try:
            with open_regular(self.path) as file:
                while piece := file.read(_BLOCK):
                    self._digest.update(piece)
                    yield piece
        except FileNotFoundError as error:
            hint = "check the path of the source"
            raise DataError(f"{self.path}: no such file", hint=hint) from error
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}") from error


def _unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what *pieces* of a gzip file hold, which may have several members."""
    member, begun = decompressobj(_OF_GZIP), False
    for piece in pieces:
        rest, text = piece, b""
        while rest or len(text) == _BLOCK:
            text, begun = member.decompress(rest, _BLOCK), True
            yield text
            rest = member.unconsumed_tail
            if member.eof:
                rest = member.unused_data.lstrip(b"\0")
                member, begun, text = decompressobj(_OF_GZIP), False, b""
    if begun:
        raise EOFError("it ends too early")


def _end(text: bytes, quote: bytes) -> int:
    """Return where the last whole line of *text* ends; 0 if none does."""
    end = text.rfind(b"\n") + 1
    opened = text.count(quote, 0, end) % 2 if quote else 0
    while opened and end:
        start = text.rfind(b"\n", 0, end - 1) + 1
        opened ^= text.count(quote, start, end) % 2
        end = start
    return end
