"""prompts.zst: the requests' texts by digest, for people. Nothing depends on it.

A process that is killed loses the texts that it had not written yet, which its journal has. So one
that goes on with a run leaves a mark, in a frame that others skip: before a mark texts may lack.
So does, in the end, one that could not write.
"""

import mmap
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeAlias

import msgspec
import zstandard

from engine.attempt import log
from engine.errors import FileError
from storage.reading import open_regular

_FRAME = 1 << 20
_LEVEL = 1

_PIECE = 1 << 10  # packed bytes that are unpacked at a time: some dozen mebibytes at the very most
_LARGEST = 64 << 20
_WINDOW = 8 << 20

_BEGINNING = b'{"request":"'
_SAID = b"another process goes on"
_MARK = b"\x50\x2a\x4d\x18" + len(_SAID).to_bytes(4, "little") + _SAID  # a skippable frame


class PromptText(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request as people read it; *schema* is that of a structured reply."""

    request: str
    system: str
    text: str
    schema: str = ""


class Gap(Enum):
    """What stands in a file beside whole frames."""

    LOST = "bytes of a frame that a crash tore"
    RESUMED = "the mark of another process"


Part: TypeAlias = list[PromptText] | Gap

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PromptText).decode


@dataclass(eq=False)
class PromptTexts:
    """Gathers texts and writes them as independent compressed frames, so a crash costs one.

    *resumed* says that another process had begun the run. Where they cannot be written that is said
    once, and they are kept no longer: no run ends for it.
    """

    path: Path
    resumed: bool = False
    _marked: bool = False
    _gathered: bytearray = field(default_factory=bytearray)
    _failed: bool = False
    _compressor: zstandard.ZstdCompressor = field(
        default_factory=lambda: zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    )

    def add(self, text: PromptText) -> None:
        """Keep a text."""
        if self._failed:
            return
        self._gathered += _encode(text) + b"\n"
        if len(self._gathered) >= _FRAME:
            self._write()

    def _write(self, *, last: bool = False) -> None:
        frame = self._compressor.compress(bytes(self._gathered)) if self._gathered else b""
        # After a failure, too, there is at least to be a mark of it.
        mark = _MARK if (self.resumed or self._failed) and not self._marked else b""
        self._gathered.clear()
        if not (mark or frame):
            return
        try:
            with self.path.open("ab") as file:
                file.write(mark + frame)
                if last:  # a manifest is to tell what is on the disk
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            self._fail(error)
        else:
            self._marked = True

    def _fail(self, error: OSError) -> None:
        if not self._failed:
            log(
                "warning",
                "prompts are kept no longer: they cannot be written",
                path=str(self.path),
                error=error.strerror,
            )
        self._failed, self._marked = True, False

    def end(self) -> None:
        """Write what is gathered: the run comes to its end, and what lacks will lack."""
        self._write(last=True)

    def close(self) -> None:
        """Write what is gathered."""
        if self._gathered:
            self._write(last=True)


def read_prompts(path: Path) -> Iterator[PromptText]:
    """Yield the texts in the whole frames of *path*; none if there is no such file.

    Raises FileError for a frame that holds something else, or too much.
    """
    for part in read_parts(path):
        if not isinstance(part, Gap):
            yield from part


def find_prompts(path: Path, wanted: Collection[str]) -> dict[str, PromptText]:
    """Return those of the *wanted* texts that *path* holds, by request; it decodes no others.

    Once all are found nothing more is read. Raises FileError as `read_prompts`.
    """
    beginnings = {_BEGINNING + request.encode() + b'"' for request in wanted}
    sizes = {*map(len, beginnings)}
    found: dict[str, PromptText] = {}
    for part in _read(path) if wanted else ():
        lines = () if isinstance(part, Gap) else part.splitlines()
        chosen = [line for line in lines if any(line[:size] in beginnings for size in sizes)]
        found |= {text.request: text for text in _texts(path, b"\n".join(chosen))}
        if len(found) == len(wanted):
            break
    return found


def read_parts(path: Path) -> Iterator[Part]:
    """Yield what stands in *path*, one after the other; raises FileError as `read_prompts`."""
    for part in _read(path):
        yield part if isinstance(part, Gap) else _texts(path, part)


def _read(path: Path) -> Iterator[bytes | Gap]:
    if not path.exists() or not path.stat().st_size:
        return
    try:
        with (
            open_regular(path) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            yield from _parts(path, data)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error


def _texts(path: Path, frame: bytes) -> list[PromptText]:
    try:
        return [_decode(line) for line in frame.splitlines()]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FileError(f"{path}: not a request's text: {error}") from error


def _parts(path: Path, data: mmap.mmap) -> Iterator[bytes | Gap]:
    """Yield what each whole frame holds; one that a crash tore may stand before others."""
    place = 0
    while place < len(data):
        if data[place : place + len(_MARK)] == _MARK:
            yield Gap.RESUMED
            place += len(_MARK)
            continue
        text, end = _frame(path, data, place)
        yield text if end else Gap.LOST
        # A torn frame does not tell its length: the next is where something looks like one.
        place = end or _next(data, place + 1)


def _next(data: mmap.mmap, start: int) -> int:
    """Return where something begins again."""
    places = (data.find(zstandard.FRAME_HEADER, start), data.find(_MARK, start))
    return min((place for place in places if place >= 0), default=len(data))


def _frame(path: Path, data: mmap.mmap, start: int) -> tuple[bytes, int]:
    """Return what the frame at *start* holds and where it ends: 0 if it is not whole."""
    if data[start : start + len(zstandard.FRAME_HEADER)] != zstandard.FRAME_HEADER:
        return b"", 0
    frame = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
    text = bytearray()
    try:
        for place in range(start, len(data), _PIECE):
            piece = data[place : place + _PIECE]
            text += frame.decompress(piece)
            if len(text) > _LARGEST:
                raise FileError(f"{path}: a frame unpacks to more than {_LARGEST:,} bytes")
            if frame.eof:
                return bytes(text), place + len(piece) - len(frame.unused_data)
    except zstandard.ZstdError:
        pass
    return b"", 0
