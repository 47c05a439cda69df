"""prompts.zst: the requests' texts by digest, for people. Nothing depends on it."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import zstandard

from engine.errors import FileError
from storage.reading import open_regular

_FRAME = 1 << 20
_PIECE = 1 << 11  # the smaller, the less can come of one at a time
_LARGEST = 64 << 20  # bytes of a frame, unpacked
_LEVEL = 1


class PromptText(msgspec.Struct, frozen=True, kw_only=True):
    """A request as people read it."""

    request: str
    system: str
    text: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PromptText).decode


@dataclass(eq=False)
class PromptTexts:
    """Gathers texts and writes them as independent compressed frames, so a crash costs one."""

    path: Path
    _gathered: bytearray = field(default_factory=bytearray)
    _compressor: zstandard.ZstdCompressor = field(
        default_factory=lambda: zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    )

    def add(self, text: PromptText) -> None:
        """Keep a text."""
        self._gathered += _encode(text) + b"\n"
        if len(self._gathered) >= _FRAME:
            self._write()

    def _write(self) -> None:
        frame = self._compressor.compress(bytes(self._gathered))
        self._gathered.clear()
        try:
            with self.path.open("ab") as file:
                file.write(frame)
        except OSError as error:
            raise FileError(f"{self.path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Write what is gathered."""
        if self._gathered:
            self._write()


def read_prompts(path: Path) -> Iterator[PromptText]:
    """Yield the texts in the whole frames of *path*; none if there is no such file.

    Raises FileError.
    """
    if not path.exists() or not path.stat().st_size:
        return
    try:
        with (
            open_regular(path) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            for frame in _frames(data):
                yield from map(_decode, frame.splitlines())
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FileError(f"{path}: not the texts of requests: {error}") from error


def _frames(data: mmap.mmap) -> Iterator[bytes]:
    """Yield what each whole frame holds; one that a crash tore may stand before others."""
    start = data.find(zstandard.FRAME_HEADER)
    while start >= 0:
        text, end = _frame(data, start)
        if end:
            yield text
        start = data.find(zstandard.FRAME_HEADER, end or start + 1)


def _frame(data: mmap.mmap, start: int) -> tuple[bytes, int]:
    """Return what the frame at *start* holds and where it ends: 0 if it is not whole, or no end."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    text = bytearray()
    try:
        for place in range(start, len(data), _PIECE):
            piece = data[place : place + _PIECE]
            text += frame.decompress(piece)
            if frame.eof:
                return bytes(text), place + len(piece) - len(frame.unused_data)
            if len(text) > _LARGEST:
                break
    except zstandard.ZstdError:
        pass
    return b"", 0
