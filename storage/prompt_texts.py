"""prompts.zst: the requests' texts by digest, for people. Nothing depends on it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import zstandard

from engine.errors import FileError

_FRAME = 1 << 20
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
        default_factory=lambda: zstandard.ZstdCompressor(level=_LEVEL)
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
    """Yield the texts that *path* holds, as far as it is whole; none if there is no such file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        rest = b""
        try:
            while chunk := reader.read(_FRAME):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from map(_decode, lines)
        except zstandard.ZstdError:
            return
