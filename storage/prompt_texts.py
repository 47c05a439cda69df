"""prompts.zst: the requests' texts by digest, for people. Nothing depends on it."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog
import zstandard

_FRAME = 1 << 20
_PIECE = 1 << 18
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
    """Gathers texts and writes them as independent compressed frames, so a crash costs one.

    Where they cannot be written that is said once, and they are kept no longer: no run ends for it.
    """

    path: Path
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

    def _write(self) -> None:
        frame = self._compressor.compress(bytes(self._gathered))
        self._gathered.clear()
        try:
            with self.path.open("ab") as file:
                file.write(frame)
        except OSError as error:
            self._failed = True
            structlog.get_logger().warning(
                "prompts are kept no longer: they cannot be written",
                path=str(self.path),
                error=error.strerror,
            )

    def close(self) -> None:
        """Write what is gathered."""
        if self._gathered:
            self._write()


def read_prompts(path: Path) -> Iterator[PromptText]:
    """Yield the texts in the whole frames of *path*; none if there is no such file."""
    if not path.exists() or not path.stat().st_size:
        return
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        for frame in _frames(data):
            yield from map(_decode, frame.splitlines())


def _frames(data: mmap.mmap) -> Iterator[bytes]:
    """Yield what each whole frame holds; one that a crash tore may stand before others."""
    start = data.find(zstandard.FRAME_HEADER)
    while start >= 0:
        text, end = _frame(data, start)
        if end:
            yield text
        start = data.find(zstandard.FRAME_HEADER, end or start + 1)


def _frame(data: mmap.mmap, start: int) -> tuple[bytes, int]:
    """Return what the frame at *start* holds and where it ends: 0 if it is not whole."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    text = bytearray()
    try:
        for place in range(start, len(data), _PIECE):
            piece = data[place : place + _PIECE]
            text += frame.decompress(piece)
            if frame.eof:
                return bytes(text), place + len(piece) - len(frame.unused_data)
    except zstandard.ZstdError:
        pass
    return b"", 0
