"""calls.jsonl: the write-ahead journal of model calls, in order of arrival.

A reply is written and flushed before anybody uses it, so that no call is paid for twice. Each line
ends with a checksum of itself. Attempts that failed stand here as well, and nowhere else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from zlib import crc32

import msgspec

from engine.episode import Call
from engine.errors import JournalError
from storage.files import AppendOnly, Durability

Identity: TypeAlias = tuple[int, int, int, str, int]
"""(user, session, step, role, occurrence): what a call is known by."""


def identity(call: Call) -> Identity:
    """Return what *call* is known by, in every run of the same configuration."""
    return call.user, call.session, call.step, call.role, call.occurrence


class CallEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A call came to its end, with a reply (*text*) or an *error* of a kind.

    *latency* is the real time in seconds from asking to the end, *wait* the part of it spent
    waiting for a slot or between attempts.
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

    @property
    def identity(self) -> Identity:
        """What the call is known by."""
        return self.user, self.session, self.step, self.role, self.occurrence


class AttemptFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """An attempt at a call failed with an *error* of a kind.

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


Entry: TypeAlias = CallEnded | AttemptFailed

_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)

_CHECK = b',"check":"%08x"}\n'
_CHECK_LENGTH = len(_CHECK % 0)


@dataclass(eq=False)
class Journal:
    """Writes a journal; once sealed it takes nothing more, and says nothing about it."""

    path: Path
    durability: Durability = "interval"
    start: int = 0
    sealed: bool = False
    _file: AppendOnly = field(init=False)

    def __post_init__(self) -> None:
        self._file = AppendOnly(self.path, self.durability, self.start)

    def append(self, entry: Entry) -> None:
        """Write *entry*; when this returns it is safe from a crash of the process."""
        if self.sealed:
            return
        body = _encode(entry)[:-1]
        self._file.write(body + _CHECK % crc32(body))

    def seal(self) -> None:
        """Take nothing more: what ends from now on ends because the run is being stopped."""
        self.sealed = True

    def close(self) -> None:
        """Seal and close the journal."""
        self.seal()
        self._file.close()


@dataclass(frozen=True)
class Recording:
    """What a journal holds: how each call ended, and how many bytes of it are whole lines."""

    ended: dict[Identity, CallEnded]
    size: int
    torn: bool


def read_journal(path: Path) -> Recording:
    """Return what a journal holds; a torn last line is left out.

    Raises JournalError `path:line: reason` for any other damage.
    """
    ended: dict[Identity, CallEnded] = {}
    size = 0
    torn = False
    for number, line in _lines(path):
        if not line.endswith(b"\n"):
            torn = True
            break
        entry = _read_line(path, number, line)
        size += len(line)
        if isinstance(entry, CallEnded):
            _keep(path, number, entry, ended)
    return Recording(ended, size, torn)


def _keep(path: Path, number: int, entry: CallEnded, ended: dict[Identity, CallEnded]) -> None:
    known = ended.get(entry.identity)
    # A failed call may be asked again on resuming; then its later end counts.
    if known is not None and known.error is None and known != entry:
        raise JournalError(f"{path}:{number}: the call {entry.identity} ended before, differently")
    ended[entry.identity] = entry


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from enumerate(file, 1)
    except FileNotFoundError as error:
        raise JournalError(f"{path}: there is no such journal") from error
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from error


def _read_line(path: Path, number: int, line: bytes) -> Entry:
    body, check = line[:-_CHECK_LENGTH], line[-_CHECK_LENGTH:]
    if check != _CHECK % crc32(body):
        raise JournalError(f"{path}:{number}: the line does not agree with its checksum")
    try:
        return _decoder.decode(body + b"}")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise JournalError(f"{path}:{number}: not a call: {error}") from error
