"""embeddings/vectors.jsonl: what a service said the vectors of texts are, by the texts' digests.

A vector decides what memories recall, so it is written before it is used, like a model's reply; so
is that there is none.
"""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.errors import FileError
from storage.files import AppendOnly, Durability


class VectorEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The *vector* of a text, as text, or the *error* that came instead.

    *attempts* were paid for: none where a cache knew the vector, or the parent of a fork.
    """

    text: str
    vector: str | None
    error: str | None
    tokens: int = 0
    attempts: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(VectorEntry).decode


@dataclass(eq=False)
class VectorFile:
    """A growing file of vectors; *known* are those that it holds."""

    path: Path
    durability: Durability = "interval"
    known: dict[str, VectorEntry] = field(init=False)
    _file: AppendOnly = field(init=False)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.known, size = read_vectors(self.path)
        self._file = AppendOnly(self.path, self.durability, size)

    def add(self, entry: VectorEntry) -> None:
        """Write *entry*; when this returns it is safe from a crash of the process."""
        self._file.write(_encode(entry) + b"\n")
        self.known[entry.text] = entry

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_vectors(path: Path) -> tuple[dict[str, VectorEntry], int]:
    """Return what is known by the file at *path*, and its size without a torn last line.

    Raises FileError `path:line: reason` for other damage.
    """
    known: dict[str, VectorEntry] = {}
    size = 0
    if not path.exists():
        return known, size
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            break
        try:
            entry = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FileError(f"{path}:{number}: not a vector: {error}") from error
        known[entry.text] = entry
        size += len(line)
    return known, size
