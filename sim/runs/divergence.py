"""A run that is run again, beside its recorded trace: the same bytes, or what differs first.

Bytes are compared, and decoded only to explain: equality of values would not tell `3` from `3.0`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from engine.errors import BillpError, DivergenceError, TraceError
from storage.reading import LONGEST_LINE, open_regular
from storage.traces import head_of, opening, opening_of

_OF_RUN = opening(None)
NO_LINE = "(no such line)"
NO_FIELD = "(no such field)"


class EndOfRecordError(BillpError):
    """Raised when a recorded trace ends before the run does: all there was agreed.

    *size* is how many bytes of the last lines there were.
    """

    def __init__(self, size: int) -> None:
        super().__init__("the recorded trace ends here")
        self.size = size


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a trace as far as it can be told without knowing its message."""

    episode: int | None
    n: int
    cause: int | None
    time: int
    message: dict[str, Any]


_decode = msgspec.json.Decoder(Line).decode


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where a recorded trace and a run part.

    *field* is a dotted name in the envelope, or `line` where only the bytes differ or one side has
    no such line; *chain* are the recorded envelopes that led there, the nearest first. *was* is
    the recorded line and *line* the run's own, as far as they can be read.
    """

    number: int
    episode: int | None
    n: int
    message: str
    field: str
    recorded: Any
    got: Any
    chain: tuple[Line, ...]
    was: Line | None
    line: Line | None

    @property
    def sentence(self) -> str:
        """What differs, in short."""
        where = "the run itself" if self.episode is None else f"episode {self.episode}"
        what = f"{where}, n {self.n}, {self.message}.{self.field}"
        return f"{what}: recorded {short(self.recorded)}, got {short(self.got)}"


def short(value: Any) -> str:
    """Return *value* on one line of moderate length."""
    text = str(value) if value in (NO_LINE, NO_FIELD) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


@dataclass(eq=False)
class TraceCheck:
    """Follows a run in its encoded form and compares it with the trace at *path*.

    The first difference raises DivergenceError, unless *every* one is to be collected.
    """

    path: Path
    every: bool = False
    differences: list[Difference] = field(default_factory=list)
    lines: int = 0
    _file: BinaryIO = field(init=False)
    _number: int = 0

    def __post_init__(self) -> None:
        self._file = self._opened()

    def _opened(self) -> BinaryIO:
        try:
            return open_regular(self.path)
        except FileNotFoundError as error:
            raise TraceError(f"{self.path}: there is no such trace") from error
        except OSError as error:
            raise TraceError(f"{self.path}: cannot be read: {error.strerror}") from error

    def look_again(self) -> None:
        """Take note that the trace was cut off beyond what was compared."""
        place = self._file.tell()
        self._file.close()  # it has read ahead
        self._file = self._opened()
        self._file.seek(place)

    def skip_to(self, episode: int) -> None:
        """Begin at an episode; raises TraceError if the trace does not hold it."""
        own = opening(episode)
        while line := self._file.readline(LONGEST_LINE):
            if line.startswith(own):
                self._file.seek(-len(line), 1)
                return
            self._number += 1
        raise TraceError(f"{self.path}: there is no episode {episode}")

    def write(self, lines: bytes) -> None:
        """Compare the lines of an episode, or of the run itself.

        Raises EndOfRecordError where the recorded trace ends.
        """
        self.compare(lines)

    def compare(self, lines: bytes, *, whole: bool = True) -> None:
        """Compare lines of an episode: all of them, or the first ones if they are not the *whole*.

        Raises EndOfRecordError where the recorded trace ends.
        """
        place = self._file.tell()
        if self._file.read(len(lines)) == lines:
            self._pass(lines)
        else:
            self._file.seek(place)
            self._compare_lines(lines, whole=whole)
        if whole:
            self._end_episode(lines)

    def _compare_lines(self, lines: bytes, *, whole: bool) -> None:
        got = lines.splitlines(keepends=True)
        # To find the first difference lines are taken as they stand; to find all, by episode.
        recorded = self._recorded_lines(lines) if self.every else self._next_lines(len(got))
        if self.at_end() and lines.startswith(b"".join(recorded)):
            self._pass(b"".join(recorded))
            raise EndOfRecordError(sum(map(len, recorded)))
        self._compare(recorded if whole else recorded[: len(got)], got)

    def _end_episode(self, lines: bytes) -> None:
        """Note what is recorded of the episode beyond *lines*."""
        own = opening_of(lines)
        while own != _OF_RUN and self._upcoming(own):
            extra = self._file.readline(LONGEST_LINE)
            self._differ(explain(self._number + 1, extra, None, lines.splitlines(keepends=True)))
            self._number += 1

    def _upcoming(self, start: bytes) -> bool:
        """Tell whether the next recorded line has this *start*."""
        found = self._file.read(len(start))
        self._file.seek(-len(found), 1)
        return found == start

    def _next_lines(self, count: int) -> list[bytes]:
        return list(filter(None, (self._file.readline(LONGEST_LINE) for _ in range(count))))

    def _pass(self, lines: bytes) -> None:
        count = lines.count(b"\n")
        self.lines += count
        self._number += count

    def _recorded_lines(self, lines: bytes) -> list[bytes]:
        """Read the recorded lines of the same episode, also those that cannot be read as such."""
        own = opening_of(lines)
        if own == _OF_RUN:
            return self._next_lines(1)
        found: list[bytes] = []
        while line := self._file.readline(LONGEST_LINE):
            if self._begins_another(line, own):
                self._file.seek(-len(line), 1)
                break
            found.append(line)
        return found

    def _begins_another(self, line: bytes, own: bytes) -> bool:
        """Tell whether *line*, or what it was before it was altered, begins another episode."""
        if line.startswith(own):
            return False
        following = self._file.readline(LONGEST_LINE)
        self._file.seek(-len(following), 1)
        if following.startswith(own):
            return False
        first, second = head_of(line), head_of(following)
        if first.n == (1 if first.episode is None else 0) or (
            second.n == 1 and second.episode is not None
        ):
            return True
        return not following and line.endswith(b"\n")

    def _compare(self, recorded: Sequence[bytes], got: Sequence[bytes]) -> None:
        for place, (old, new) in enumerate(zip_longest(recorded, got)):
            if old != new:
                self._differ(explain(self._number + place + 1, old, new, recorded[:place]))
        self._number += len(recorded)
        self.lines += len(recorded)

    def end(self) -> None:
        """Note that the run is over: what is recorded beyond it differs."""
        while line := self._file.readline(LONGEST_LINE):
            self._differ(explain(self._number + 1, line, None, ()))
            self._number += 1

    def _differ(self, difference: Difference) -> None:
        self.differences.append(difference)
        if not self.every:
            raise TraceDivergenceError(self.path, difference)

    def at_end(self) -> bool:
        """Tell whether the recorded trace holds nothing more."""
        more = self._file.read(1)
        if more:
            self._file.seek(-1, 1)
        return not more

    def close(self) -> None:
        """Close the recorded trace."""
        self._file.close()


class TraceDivergenceError(DivergenceError):
    """Raised at the first difference; *difference* tells all about it."""

    def __init__(self, path: Path, difference: Difference) -> None:
        super().__init__(f"{path}:{difference.number}: {difference.sentence}")
        self.difference = difference


def explain(
    number: int, old: bytes | None, new: bytes | None, before: Sequence[bytes]
) -> Difference:
    """Return what makes two lines differ; *before* are the recorded lines of the episode so far."""
    recorded, got = _line(old), _line(new)
    known = got or recorded
    field, values = _first_field(recorded, got)
    if not field:
        field, values = "line", (_shown(old), _shown(new))
    return Difference(
        number=number,
        episode=known.episode if known else None,
        n=known.n if known else len(before),
        message=str(known.message.get("type")) if known else "?",
        field=field,
        recorded=values[0],
        got=values[1],
        chain=tuple(_chain(known, before)),
        was=recorded,
        line=got,
    )


def _line(line: bytes | None) -> Line | None:
    if line is None:
        return None
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _shown(line: bytes | None) -> str:
    return NO_LINE if line is None else line.decode(errors="replace").rstrip("\n")


def _first_field(recorded: Line | None, got: Line | None) -> tuple[str, tuple[Any, Any]]:
    """Return the first field that differs, in the order of the run's line."""
    if recorded is None or got is None:
        return "", ("", "")
    old, new = (dict(_fields(msgspec.to_builtins(line))) for line in (recorded, got))
    for name in [*new, *(name for name in old if name not in new)]:
        one, other = old.get(name, NO_FIELD), new.get(name, NO_FIELD)
        # `3` and `3.0` are equal, but not the same bytes.
        if (type(one), one) != (type(other), other):
            return name.removeprefix("message."), (one, other)
    return "", ("", "")


def _fields(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of *value* by dotted name."""
    prefix = f"{name}." if name else ""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _fields(one, f"{prefix}{key}")
    elif isinstance(value, list) and value:
        for key, one in enumerate(value):
            yield from _fields(one, f"{prefix}{key}")
    else:
        yield name, value


def _chain(line: Line | None, before: Sequence[bytes]) -> Iterator[Line]:
    cause = line.cause if line else None
    while cause is not None and 0 <= cause < len(before):
        above = _line(before[cause])
        if above is None:
            return
        yield above
        cause = above.cause if above.cause is None or above.cause < cause else None
