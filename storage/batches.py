"""batches.jsonl: which calls of a run were sent to a service in which batch, and what became of it.

A batch is paid for once it is there, be its run killed or not: so what is sent is written before
the service is asked to begin, and a run that is resumed collects it. Each line ends with a checksum
of itself. Which replies came is not written here: that is in the journal of calls.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec

from engine.errors import FileError
from storage.files import AppendOnly, Durability, lost
from storage.reading import lines_of, open_regular
from storage.sealed import seal, unseal

NAME_PATTERN: Final = r"^[A-Za-z0-9_-]{1,128}$"
"""How services name files and batches: the names become parts of addresses."""

_Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]


class FileUploaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A *file* is at the service at *url*, with a line for each of the calls *names*."""

    file: _Name
    url: str
    names: tuple[str, ...]


class BatchCreated(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The service works on the lines of a *file*, in a *batch*."""

    batch: _Name
    file: _Name


class BatchEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The batch of a *file* ended as its *status* says; there is nothing in it for *failed* calls.

    It may stand here more than once: what failed is taken together.
    """

    file: _Name
    status: str
    failed: tuple[str, ...] = ()


BatchEntry: TypeAlias = FileUploaded | BatchCreated | BatchEnded

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[BatchEntry] = msgspec.json.Decoder(BatchEntry)


@dataclass(eq=False)
class SentBatch:
    """What a run knows of a batch: the *names* of the calls that it may have a reply to.

    Without the name of the *batch* nobody knows whether the service has begun.
    """

    file: str
    url: str
    names: dict[str, None]
    batch: str = ""
    ended: bool = False


@dataclass(eq=False)
class BatchFile:
    """A growing file of batches; *sent* are those that it knows of, oldest first."""

    path: Path
    durability: Durability = "interval"
    sent: list[SentBatch] = field(init=False)
    file: AppendOnly = field(init=False)

    def __post_init__(self) -> None:
        self.sent, size = read_batches(self.path)
        self.file = AppendOnly(self.path, self.durability, size)

    def append(self, entry: BatchEntry) -> None:
        """Write *entry*; when this returns it is safe from a crash of process and machine."""
        self.file.write(seal(_encode(entry)))
        self.file.force()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def read_batches(path: Path) -> tuple[list[SentBatch], int]:
    """Return the batches that the file at *path* knows of, and its size without a torn last line.

    Raises FileError `path:line: reason` for other damage.
    """
    sent: dict[str, SentBatch] = {}
    size = 0
    for number, line in _lines(path):
        if not line.endswith(b"\n") or lost(line, size):
            break
        try:
            _note(sent, _decoder.decode(unseal(line)))
        except (ValueError, KeyError, RecursionError) as error:  # also of msgspec
            raise FileError(f"{path}:{number}: no word on a batch: {error}") from error
        size += len(line)
    return [*sent.values()], size


def open_batches(path: Path) -> list[SentBatch]:
    """Return the batches at which a service may still work; raises as `read_batches`."""
    return [one for one in read_batches(path)[0] if one.batch and not one.ended]


def _note(sent: dict[str, SentBatch], entry: BatchEntry) -> None:
    if isinstance(entry, FileUploaded):
        sent[entry.file] = SentBatch(entry.file, entry.url, dict.fromkeys(entry.names))
    elif isinstance(entry, BatchCreated):
        sent[entry.file].batch = entry.batch
    else:
        sent[entry.file].ended = True
        _drop(sent[entry.file].names, entry.failed)


def _drop(names: dict[str, None], gone: Sequence[str]) -> None:
    for name in gone:
        names.pop(name, None)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    if not path.exists():
        return
    try:
        with open_regular(path) as file:
            yield from enumerate(lines_of(file), 1)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
