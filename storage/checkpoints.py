"""checkpoint.jsonl: what closed episodes left for the memories, while a run is unfinished.

With the trace that is all it takes to go on after an episode without making it again. One line an
episode, so it grows with the run and holds every record once. The first line says whose it is;
every line ends with a checksum of itself, and names the digest of the episode's lines of the trace.
A run can do without: it is written last, never forced to the disk, and not believed if in doubt.
"""

from array import array
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.attempt import log
from engine.closed import Closed, Left
from engine.errors import FileError
from engine.records import MemoryName, Record
from storage.files import AppendOnly, remove
from storage.reading import lines_of, open_regular
from storage.sealed import seal, unseal
from storage.traces import episode_of

_encode = msgspec.json.Encoder().encode

_GATHERED = 1 << 18  # bytes


class Whose(msgspec.Struct, frozen=True):
    """The first line: *origin* names the run and the code that wrote it."""

    origin: str


class _Kept(msgspec.Struct, frozen=True):
    memory: str
    key: bytes
    payload: msgspec.Raw


class _Line(msgspec.Struct, frozen=True):
    episode: int
    digest: str
    left: tuple[_Kept, ...]


_decode_whose = msgspec.json.Decoder(Whose).decode
_decode_line = msgspec.json.Decoder(_Line).decode


def lines_digest(lines: bytes) -> str:
    """Return what a checkpoint knows an episode's *lines* by."""
    return blake2b(lines, digest_size=16).hexdigest()


@dataclass(eq=False)
class CheckpointFile:
    """Writes a checkpoint at *path* after its first *size* bytes: follows a run beside its *trace*.

    What is gathered is written when the trace was forced to the disk. The first error ends it, not
    the run.
    """

    path: Path
    trace: AppendOnly
    size: int = 0
    origin: str = ""
    _file: AppendOnly | None = None
    _gathered: bytearray = field(default_factory=bytearray)
    _waiting: dict[int, Sequence[Left]] = field(default_factory=dict)
    _given_up: bool = False

    def __post_init__(self) -> None:
        self.trace.then.append(self.flush)

    def keep(self, episode: int, closed: Closed) -> None:
        """Take what came of an episode, until its lines are in the trace."""
        self._waiting[episode] = closed.records

    def write(self, lines: bytes) -> None:
        """Take note that an episode's *lines* went to the trace."""
        episode = episode_of(lines)
        left = None if episode is None else self._waiting.pop(episode, None)
        if episode is None or left is None or self._given_up:
            return
        kept = tuple(
            _Kept(memory, record.key.tobytes(), msgspec.Raw(_encode(record.payload)))
            for memory, record in left
        )
        self._gathered += seal(_encode(_Line(episode, lines_digest(lines), kept)))
        # Where nothing is ever forced the trace is there already.
        if self.trace.durability == "none" and len(self._gathered) >= _GATHERED:
            self.flush()

    def flush(self) -> None:
        """Write what is gathered."""
        if not self._gathered or self._given_up:
            return
        lines, self._gathered = bytes(self._gathered), bytearray()
        try:
            self._opened().write(lines)
        except FileError as error:
            self._given_up = True
            what = "no checkpoint is written any more: a resume will take longer"
            log("warning", what, error=str(error))

    def _opened(self) -> AppendOnly:
        if self._file is None:
            self._file = AppendOnly(self.path, "none", self.size)
            if not self.size:
                self._file.write(seal(_encode(Whose(self.origin))))
        return self._file

    def close(self) -> None:
        """Write what is gathered, and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint at *path* holds: where the line of each episode is; *size* in whole lines.

    It begins with episode 0 and leaves none out. *doubt* says why no more of it is believed; empty
    if all is.
    """

    path: Path
    size: int = 0
    places: Sequence[int] = ()
    doubt: str = ""

    def left(
        self, episode: int, digest: str, names: Mapping[str, MemoryName[Any]]
    ) -> tuple[Left, ...]:
        """Return what an *episode* left, whose lines have that *digest*; raises ValueError."""
        if episode >= len(self.places):
            raise ValueError("the checkpoint does not hold it")
        try:
            with open_regular(self.path) as file:
                file.seek(self.places[episode])
                line = _decode_line(unseal(next(lines_of(file), b"")))
        except (OSError, msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f"the checkpoint cannot be read: {error}") from error
        if (line.episode, line.digest) != (episode, digest):
            raise ValueError("the checkpoint tells of other lines of the trace")
        return tuple(_left(episode, kept, names) for kept in line.left)


def _left(episode: int, kept: _Kept, names: Mapping[str, MemoryName[Any]]) -> Left:
    if kept.memory not in names:
        raise ValueError(f"the checkpoint has a memory {kept.memory!r}, which the agent has not")
    key = np.frombuffer(kept.key, np.int8)
    if not key.any():
        raise ValueError("the checkpoint has a key that is none")
    payload = msgspec.json.decode(kept.payload, type=names[kept.memory].payload)
    return kept.memory, Record(episode, key, payload)


def read_checkpoint(path: Path, origin: str) -> Checkpoint:
    """Return what of the checkpoint at *path* can be believed, of a run of that *origin*."""
    places = array("q")
    size, doubt = 0, "it is empty"
    try:
        for place, line in _lines(path):
            if not place:
                _check_whose(line, origin)
            else:
                _note(places, _decode_line(unseal(line)).episode, place)
            size, doubt = place + len(line), ""
    except FileNotFoundError:
        doubt = "there is none"
    except OSError as error:
        doubt = f"it cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        doubt = str(error)
    return Checkpoint(path, size, places, doubt)


def _note(places: MutableSequence[int], episode: int, place: int) -> None:
    """Note where an episode's line is: of the next one, or of one that was made again."""
    if not 0 <= episode <= len(places):
        raise ValueError(f"it leaves out episode {len(places)}")
    places[episode : episode + 1] = array("q", [place])


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield where each line begins, and the line."""
    place = 0
    with open_regular(path) as file:
        for line in lines_of(file):
            yield place, line
            place += len(line)


def forget(path: Path) -> None:
    """Remove the checkpoint at *path*, which nobody needs any more; whatever happens is said."""
    try:
        if path.exists():
            remove(path)
    except FileError as error:
        log("warning", "the checkpoint stays: nobody needs it any more", error=str(error))


def _check_whose(line: bytes, origin: str) -> None:
    if _decode_whose(unseal(line)).origin != origin:
        raise ValueError("it is of another run, or of another version of billp")
