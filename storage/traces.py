"""trace.jsonl: the canonical record of a run, one envelope a line.

The digest of a run is the sha256 of this file.
"""

import re
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, TypeAlias, TypeVar, cast, get_args

import msgspec

from engine.errors import ConfigError, TraceError
from engine.messages import SCHEMA, Envelope, EpisodeStarted, Message, RunStarted
from storage.files import AppendOnly, HeldBack, lost
from storage.reading import LONGEST_LINE, lines_of, open_regular

M = TypeVar("M")

Line: TypeAlias = tuple[int, bytes, Envelope[Message]]
"""A line of a trace: its number from 1, its bytes without the end, its envelope."""

_decode = msgspec.json.Decoder(Envelope[Message]).decode

_TAIL = 1 << 16
_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19

# Nesting without end is met where a field is skipped that we do not know.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class LineHead(NamedTuple):
    """What a line of a trace begins with, told without decoding it; *kind* is its message's type.

    *n* is None and *kind* empty as far as the line does not begin as ours do.
    """

    episode: int | None
    n: int | None
    kind: str


# Numbers and null stand before the type: no words of a model can look like what is sought here.
_KIND = b'"message":{"type":"'
_head = re.compile(
    rb'\{"episode":(null|\d{1,18}),"n":(\d{1,18}),(?:"cause":(?:null|\d+),"time":\d+,%b(\w+)")?'
    % re.escape(_KIND)
).match


def head_of(line: bytes) -> LineHead:
    """Return the head of a line, or of the first of several lines."""
    found = _head(line)
    if found is None:
        return LineHead(None, None, "")
    episode, n, kind = found.groups(b"")
    return LineHead(None if episode == b"null" else int(episode), int(n), kind.decode())


def opening(episode: int | None) -> bytes:
    """Return what the lines of an episode begin with, and no others; None: those of the run."""
    return b'{"episode":null,' if episode is None else b'{"episode":%d,' % episode


def opening_of(line: bytes) -> bytes:
    """Return what all lines of the same episode begin with."""
    return line[: line.find(b",") + 1]


class Hash(Protocol):
    """A running digest, as hashlib makes them."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of all bytes so far."""
        ...


@dataclass(eq=False)
class TraceWriter:
    """Writes a trace; follows a run in its encoded form."""

    file: AppendOnly | HeldBack
    lines: int = 0
    size: int = 0
    _hash: Hash = field(default_factory=sha256)

    def write(self, lines: bytes, *, written: int = 0) -> None:
        """Append the lines of an episode, or of the run itself; *written* bytes are there."""
        if written < len(lines):
            self.file.write(lines[written:])
        # Also what was there before: the digest is that of the whole file.
        self._hash.update(lines)
        self.lines += lines.count(b"\n")
        self.size += len(lines)

    @property
    def digest(self) -> str:
        """The sha256 of what was written so far, in hexadecimal."""
        return self._hash.hexdigest()

    def cut(self, size: int) -> None:
        """Leave nothing of what stands beyond *size* bytes; it was not written by this writer."""
        self.file.cut(size)

    def force(self) -> None:
        """Return when all of it is on the disk, unless that is never wanted."""
        self.file.force()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def decode_line(path: Path, number: int, line: bytes) -> Envelope[Message]:
    """Return the envelope of a line; raises TraceError `path:line: reason`."""
    try:
        envelope = _decode(line)
        # Rarely more than the first look: what is long may be the words of a model.
        if _LONG_NUMBER in line.translate(_AS_ZEROS) and _beyond(msgspec.json.decode(line)):
            raise TraceError(f"{path}:{number}: not an envelope: a number of more than 64 bits")
    except _UNREADABLE as error:
        raise TraceError(f"{path}:{number}: not an envelope: {error}") from error
    return envelope


def _beyond(value: object) -> bool:
    """Tell whether there is a number that no table and no array can hold."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return any(map(_beyond, parts))
    return isinstance(value, int) and not -(1 << 63) <= value < 1 << 63


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines of a trace, numbered from 1; a torn last line is left out."""
    with _opened(path) as file:
        for number, line in enumerate(lines_of(file), 1):
            if not line.endswith(b"\n"):
                return
            yield number, line[:-1]


def read_pieces(path: Path, start: int = 0, *, size: int = 1 << 20) -> Iterator[bytes]:
    """Yield a trace from byte *start* on, in pieces of about *size* bytes, each of whole lines.

    A torn last line is left out. Raises TraceError if the trace is shorter than *start*.

    Many lines at once are for who seeks a few of them, in a fraction of the time.
    """
    rest = b""
    with _opened(path) as file:
        if file.seek(0, 2) < start:
            raise TraceError(f"{path}: became shorter while it was looked at")
        file.seek(start)
        while piece := file.read(size):
            whole, end, rest = (rest + piece).rpartition(b"\n")
            if len(rest) > LONGEST_LINE:
                raise TraceError(f"{path}: has a line of more than {LONGEST_LINE:,} bytes")
            if end:
                yield whole + end


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError as error:
        raise TraceError(f"{path}: there is no such trace") from error
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error


def read_trace(path: Path) -> Iterator[Envelope[Message]]:
    """Yield the envelopes of a trace; raises TraceError `path:line: reason` for a bad line."""
    for number, line in read_lines(path):
        yield decode_line(path, number, line)


def read_episodes(
    path: Path, kinds: Collection[type[Message]]
) -> Iterator[tuple[int, list[Envelope[Message]]]]:
    """Yield the number of each episode, and its envelopes with messages of *kinds*.

    Others are not decoded. Raises TraceError `path:line: reason` for a bad line.
    """
    wanted = {b"", *(kind.__name__.encode() for kind in kinds)}
    own, episode, envelopes = opening(None), None, list[Envelope[Message]]()
    for number, line in read_lines(path):
        if not line.startswith(own):
            if episode is not None:
                yield episode, envelopes
            own, episode, envelopes = opening_of(line), episode_of(line), []
        if kind_of(line) in wanted:
            envelopes.append(decode_line(path, number, line))
    if episode is not None:
        yield episode, envelopes


def read_chosen(
    path: Path, episodes: Collection[int]
) -> Iterator[tuple[int, list[Envelope[Message]]]]:
    """Yield the number and the envelopes of each of *episodes*; others are not decoded.

    Raises TraceError `path:line: reason` for a bad line.
    """
    own, episode, envelopes = opening(None), None, list[Envelope[Message]]()
    for number, line in read_lines(path):
        if not line.startswith(own):
            if envelopes and episode is not None:
                yield episode, envelopes
            own, episode, envelopes = opening_of(line), episode_of(line), []
        if episode in episodes:
            envelopes.append(decode_line(path, number, line))
    if envelopes and episode is not None:
        yield episode, envelopes


def kind_of(line: bytes) -> bytes:
    """Return what `head_of` calls *kind*, in a tenth of its time."""
    start = line.find(_KIND)
    return line[start + len(_KIND) : line.find(b'"', start + len(_KIND))] if start > 0 else b""


def kind_named(name: str) -> type[Message]:
    """Return the message type called *name*; raises ConfigError if there is none."""
    kinds = {kind.__name__: kind for kind in get_args(Message)}
    if name not in kinds:
        near = get_close_matches(name, kinds, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}"
        raise ConfigError(f"there is no message type {name!r}", hint=hint)
    found: type[Message] = kinds[name]
    return found


def read_kind(path: Path, kind: type[M]) -> Iterator[Envelope[M]]:
    """Yield the envelopes of a trace whose messages are of type *kind*; others are not decoded."""
    wanted = {b"", kind.__name__.encode()}
    for number, line in read_lines(path):
        if kind_of(line) in wanted:
            envelope = decode_line(path, number, line)
            if isinstance(envelope.message, kind):
                yield cast("Envelope[M]", envelope)


def read_episode(path: Path, episode: int) -> list[Envelope[Message]]:
    """Return the envelopes of an episode; raises TraceError if the trace does not hold it."""
    found, last = _search(path, episode)
    if not found:
        held = f"it holds 0 to {decode_line(path, 0, last).episode}" if last else "it holds none"
        raise TraceError(f"{path}: there is no episode {episode}", hint=held)
    return found


def find_episode(path: Path, episode: int) -> list[Envelope[Message]]:
    """Return the envelopes of an episode; none if the trace, which may be growing, has none."""
    return _search(path, episode)[0] if whole_size(path) else []


def _search(path: Path, episode: int) -> tuple[list[Envelope[Message]], bytes]:
    """Return the envelopes of an episode, and the last line that was passed on the way to it."""
    own, of_run = opening(episode), opening(None)
    found: list[Envelope[Message]] = []
    last = b""
    for number, line in read_lines(path):
        if line.startswith(own):
            found.append(decode_line(path, number, line))
        elif found:
            break
        elif not line.startswith(of_run):
            last = line
    if found and not isinstance(found[0].message, EpisodeStarted):
        raise TraceError(f"{path}: episode {episode} does not begin with EpisodeStarted")
    return found, last


def read_head(path: Path) -> RunStarted:
    """Return the head of a trace; raises TraceError if there is none, or of another schema."""
    for _, line in read_lines(path):
        check_schema(path, line)
        message = decode_line(path, 1, line).message
        if not isinstance(message, RunStarted):
            break
        return message
    raise TraceError(f"{path}:1: expected RunStarted")


class _Schema(msgspec.Struct):
    schema: int


class _Head(msgspec.Struct):
    message: _Schema


def check_schema(path: Path, line: bytes) -> None:
    """Raise TraceError if the first line of a trace is of a schema that is not ours."""
    try:
        # By itself first: of another schema the rest might not even decode.
        schema = msgspec.json.decode(line, type=_Head).message.schema
    except _UNREADABLE as error:
        raise TraceError(f"{path}:1: expected RunStarted: {error}") from error
    if schema != SCHEMA:
        age = "newer" if schema > SCHEMA else "older"
        what = (
            f"{path}:1: the trace has schema {schema}, {age} than {SCHEMA}, which this billp reads"
        )
        raise TraceError(
            what, hint="read it with the version of billp that wrote it (see run.toml)"
        )


def whole_size(path: Path) -> int:
    """Return how many bytes of a file are whole lines; 0 if there is no file."""
    if not path.exists():
        return 0
    with _opened(path) as file:
        end = file.seek(0, 2)
        # No line of ours is longer: where none ended by then, none does.
        least = max(0, end - LONGEST_LINE)
        while end > least:
            start = max(0, end - _TAIL)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


@dataclass(frozen=True)
class Survey:
    """What of a trace came to the disk: its *size* in whole lines, and where each episode begins.

    Episodes stand in the order of their numbers, from 0.
    """

    size: int = 0
    begins: Sequence[int] = ()

    def place_of(self, episode: int) -> int | None:
        """Return where the lines of an episode begin, None if the trace does not hold it."""
        return self.begins[episode] if episode < len(self.begins) else None


def survey(path: Path) -> Survey:
    """Return what of the trace at *path* came to the disk; nothing if there is no file."""
    place, begins, awaited = 0, array("q"), opening(0)
    if not path.exists():
        return Survey()
    with _opened(path) as file:
        for line in lines_of(file):
            # Later sectors may have come to the disk without these: nothing after a hole counts.
            if not line.endswith(b"\n") or lost(line, place):
                break
            if line.startswith(awaited):
                begins.append(place)
                awaited = opening(len(begins))
            place += len(line)
    return Survey(place, begins)


def digest_of(path: Path) -> str:
    """Return the digest of a trace file; raises TraceError if it cannot be read."""
    whole = sha256()
    with _opened(path) as file:
        while chunk := file.read(1 << 20):
            whole.update(chunk)
    return whole.hexdigest()


def episode_of(lines: bytes) -> int | None:
    """Return the number of the episode whose lines these are; None for the run's own."""
    return head_of(lines).episode


def before_step(lines: bytes, step: int) -> bytes:
    """Return the lines that stand before the request for step *step*; all if there is none."""
    marker = lines.find(b'"message":{"type":"PlanRequested","step":%d}' % step)
    return lines if marker < 0 else lines[: lines.rfind(b"\n", 0, marker) + 1]
