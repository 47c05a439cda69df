"""calls.jsonl: the write-ahead journal of model calls, in order of arrival.

A reply is written and flushed before anybody uses it, so that no call is paid for twice. Each line
ends with a checksum of itself. Attempts that failed stand here as well, and nowhere else.
"""

import os
import weakref
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.calls import Call
from engine.errors import JournalError
from storage.files import AppendOnly, Durability, lost
from storage.reading import lines_of, open_regular
from storage.sealed import seal, unseal

Places: TypeAlias = NDArray[np.int64]
Identity: TypeAlias = tuple[int, int, int, str, int]
"""(user, session, step, role, occurrence): what a call is known by."""


def identity(call: Call) -> Identity:
    """Return what *call* is known by, in every run of the same configuration."""
    return call.user, call.session, call.step, call.role, call.occurrence


class CallEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False, omit_defaults=True):
    """A call came to its end, with a reply (*text*) or an *error* of a kind.

    Of the prompt's tokens the service had *cached* some, and *written* others to its cache; of the
    completion's, *reasoning* ones are not seen. *said* is what the service said of the error, on
    one line. *latency* is the real time in seconds
    from asking to the end, *wait* the part of it spent waiting for a slot or between attempts.
    """

    user: int
    session: int
    step: int
    role: str
    occurrence: int
    request: str
    text: str | None
    error: str | None
    prompt_tokens: int
    completion_tokens: int
    finish: str
    latency: float
    wait: float
    attempts: int
    said: str = ""
    cached_tokens: int = 0
    written_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def identity(self) -> Identity:
        """What the call is known by."""
        return self.user, self.session, self.step, self.role, self.occurrence


class AttemptFailed(
    msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False, omit_defaults=True
):
    """An attempt at a call failed with an *error* of a kind; *said* is what the service said of it.

    In seconds: the *wait* for a slot, then the *latency*, then the *pause* before the next attempt.
    """

    user: int
    session: int
    step: int
    role: str
    occurrence: int
    attempt: int
    error: str
    latency: float
    wait: float
    pause: float
    said: str = ""


class ForkStarted(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The first line of a fork's journal; the calls of its *parent* (a digest) come next.

    Those that come to ask otherwise since the fork end once more.
    """

    parent: str


class RetryStarted(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """From here on calls that had failed are asked again, and what came of them may differ.

    So are texts whose vectors had failed: within the first *vectors* bytes of vectors.jsonl.
    """

    vectors: int = 0


Entry: TypeAlias = CallEnded | AttemptFailed | RetryStarted | ForkStarted

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)

_PART = 4_096  # bytes read at a time; few calls are longer


@dataclass(eq=False)
class Journal:
    """Writes a journal; once sealed it takes nothing more, and says nothing about it."""

    path: Path
    durability: Durability = "interval"
    start: int = 0
    sealed: bool = False
    file: AppendOnly = field(init=False)

    def __post_init__(self) -> None:
        self.file = AppendOnly(self.path, self.durability, self.start)

    def append(self, entry: Entry) -> None:
        """Write *entry*; when this returns it is safe from a crash of the process."""
        if self.sealed:
            return
        self.file.write(seal(_encode(entry)))

    def seal(self) -> None:
        """Take nothing more: what ends from now on ends because the run is being stopped."""
        self.sealed = True

    def close(self) -> None:
        """Seal and close the journal."""
        self.seal()
        self.file.close()


class Recording(Mapping[Identity, CallEnded]):
    """How the calls of a journal ended, by identity. Held as an index: replies stay on disk.

    *size* is how many bytes of the journal are whole lines, *torn* whether more follow: a line that
    a crash cut off, or what came to the disk after something that did not. *retried*
    says that failed calls were asked again, so that later ones may have been, too; a call that
    failed before that has not ended until it ends anew; nor has a vector within the first *vectors*
    bytes of its file. *forked* says that the calls of a parent run come first.
    """

    def __init__(self, path: Path, index: tuple[Places, Places], *, size: int, torn: bool) -> None:
        self.path = path
        self.size = size
        self.torn = torn
        self.retried = False
        self.vectors = 0
        self.forked = False
        names, places = index
        # Stable: of the ends of one call the last one comes last.
        order = np.argsort(names, kind="stable")
        self._names, self._places = names[order], places[order]
        # Not mapped into memory: what was read once would count as ours until the end.
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __getitem__(self, known: Identity) -> CallEnded:
        # Two identities may share 64 bits, if hardly ever: the entry itself decides.
        for entry in reversed(self._under(_name(known))):
            if entry.identity == known:
                return entry
        raise KeyError(known)

    def __iter__(self) -> Iterator[Identity]:
        """Yield the identities in the order in which their calls ended first."""
        places = np.sort(self._places).tolist()
        return iter(dict.fromkeys(self._at(place).identity for place in places))

    def __len__(self) -> int:
        """Return how many calls ended."""
        repeated = np.flatnonzero(self._names[1:] == self._names[:-1])
        names = dict.fromkeys(self._names[repeated].tolist())
        again = sum(
            len(entries) - len({entry.identity for entry in entries})
            for entries in map(self._under, names)
        )
        return len(self._names) - again

    def every(self) -> Iterator[CallEnded]:
        """Yield all ends, oldest first: also those of calls that were asked again since."""
        return (entry for entry in self.entries() if isinstance(entry, CallEnded))

    def entries(self) -> Iterator[Entry]:
        """Yield all that the journal holds, oldest first."""
        place = 0
        for number, line in _lines(self.path):
            place += len(line)
            if place > self.size:
                return
            yield _read_line(self.path, number, line)

    def _under(self, name: int) -> list[CallEnded]:
        """Return the ends of the calls of that *name*, oldest first; nearly always one."""
        first = int(np.searchsorted(self._names, name, "left"))
        last = int(np.searchsorted(self._names, name, "right"))
        return [self._at(place) for place in self._places[first:last].tolist()]

    def _at(self, place: int) -> CallEnded:
        entry = _read_line(self.path, self._number(place), self._line(place))
        if not isinstance(entry, CallEnded):
            raise JournalError(f"{self.path}:{self._number(place)}: changed while it was read")
        return entry

    def _line(self, place: int) -> bytes:
        line = bytearray()
        while part := os.pread(self._file, _PART, place + len(line)):
            line += part
            if (end := line.find(b"\n", len(line) - len(part))) >= 0:
                return bytes(line[: end + 1])
        return bytes(line)

    def _number(self, place: int) -> "_Number":
        return _Number(self._file, place)

    def check(self) -> None:
        """Raise JournalError if a call ended twice, differently, with nobody to ask it again."""
        repeated = np.flatnonzero(self._names[1:] == self._names[:-1])
        for where in repeated.tolist():
            earlier, later = (self._at(int(place)) for place in self._places[where : where + 2])
            again = earlier.error is not None or self.retried or self.forked
            if earlier.identity == later.identity and earlier != later and not again:
                number = self._number(int(self._places[where + 1]))
                what = f"the call {later.identity} ended before, differently"
                raise JournalError(f"{self.path}:{number}: {what}")


@dataclass(frozen=True)
class _Number:
    """The number of a line; counted only if it is shown."""

    file: int
    place: int

    def __str__(self) -> str:
        starts = range(0, self.place, _PART)
        parts = (os.pread(self.file, min(_PART, self.place - start), start) for start in starts)
        return str(sum(part.count(b"\n") for part in parts) + 1)


def _name(known: Identity) -> int:
    """Return 64 bits that stand for an identity."""
    user, session, step, role, occurrence = known
    text = f"{user}/{session}/{step}/{occurrence}/{role}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


def read_journal(path: Path) -> Recording:
    """Return what a journal holds; a torn last line is left out, and all after lost bytes.

    Raises JournalError `path:line: reason` for any other damage.
    """
    names, places = array("q"), array("q")
    failed: list[int] = []
    size = vectors = 0
    torn = retried = forked = False
    for number, line in _lines(path):
        # Nothing after a hole counts, be it whole: something before it may be missing.
        if not line.endswith(b"\n") or lost(line, size):
            torn = True
            break
        entry = _read_line(path, number, line)
        if isinstance(entry, CallEnded):
            if entry.error is not None:
                failed.append(len(names))
            names.append(_name(entry.identity))
            places.append(size)
        elif isinstance(entry, RetryStarted):
            retried, vectors = True, entry.vectors
            # From the back: what is left keeps its place.
            while failed:
                place = failed.pop()
                del names[place], places[place]
        forked = forked or isinstance(entry, ForkStarted)
        size += len(line)
    index = np.frombuffer(names, np.int64), np.frombuffer(places, np.int64)
    recording = Recording(path, index, size=size, torn=torn)
    recording.retried, recording.forked, recording.vectors = retried, forked, vectors
    recording.check()
    return recording


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield what a journal holds, oldest first; it may be one that is being written.

    A torn last line is left out, and all after lost bytes. Raises JournalError as `read_journal`.
    """
    size = 0
    for number, line in _lines(path):
        if not line.endswith(b"\n") or lost(line, size):
            return
        yield _read_line(path, number, line)
        size += len(line)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with open_regular(path) as file:
            yield from enumerate(lines_of(file), 1)
    except FileNotFoundError as error:
        raise JournalError(f"{path}: there is no such journal") from error
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from error


def _read_line(path: Path, number: object, line: bytes) -> Entry:
    try:
        text = unseal(line)
    except ValueError as error:
        raise JournalError(f"{path}:{number}: {error}") from error
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise JournalError(f"{path}:{number}: not a call: {error}") from error
