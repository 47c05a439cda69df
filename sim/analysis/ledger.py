"""A row for each episode of a trace, and where its lines begin: read once, then only what is new.

Ten thousand episodes are found without decoding what they hold: what begins and ends an episode is
sought in blocks of the file, and only those lines are decoded. A ledger holds 50 bytes an episode.
"""

import re
from array import array
from collections.abc import Iterator, MutableSequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Literal, TypeAlias, cast, get_args

import msgspec

from engine.errors import TraceError
from engine.messages import Envelope, EpisodeEnded, EpisodeStarted, Message
from storage.reading import open_regular
from storage.traces import decode_line, kind_of, read_pieces

_BLOCK = 1 << 22
_LEFT = b'"left":'
_NAMED = len(b'"message":{"type":"')
# Quotes in strings are escaped: no words of a model can look like one of these.
_marks = re.compile(
    rb'"message":\{"type":"Episode(?:Started|Ended|Settled|Failed)"|"left":true(?:,"reason":"((?:[^"\\]|\\.)*)")?'
).finditer

End: TypeAlias = Literal["open", "finished", "failed"]
"""Where an episode stands in a trace: *open* is one whose end is not written."""

_ENDS = get_args(End)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An episode: whose, when (virtual milliseconds), how long, the sum of rewards, and its end.

    *reason* is why it ended: the quit rule's, or `limit`; empty where it did not come to that.
    """

    episode: int
    user: int
    session: int
    arrival: int
    phase: Literal["train", "test"]
    length: int
    reward: float
    end: End
    reason: str


@dataclass(eq=False)
class Ledger:
    """The episodes of the trace at *path*, as far as it was read when `refresh` was last called."""

    path: Path
    size: int = 0
    _begins: MutableSequence[int] = field(default_factory=lambda: array("q"))
    _users: MutableSequence[int] = field(default_factory=lambda: array("q"))
    _sessions: MutableSequence[int] = field(default_factory=lambda: array("q"))
    _arrivals: MutableSequence[int] = field(default_factory=lambda: array("q"))
    _tests: MutableSequence[int] = field(default_factory=lambda: array("b"))
    _lengths: MutableSequence[int] = field(default_factory=lambda: array("q"))
    _rewards: MutableSequence[float] = field(default_factory=lambda: array("d"))
    _ends: MutableSequence[int] = field(default_factory=lambda: array("b"))
    _reasons: MutableSequence[int] = field(default_factory=lambda: array("h"))
    _names: list[str] = field(default_factory=lambda: [""])

    def __len__(self) -> int:
        return len(self._begins)

    def __getitem__(self, episode: int) -> Row:
        if not 0 <= episode < len(self):
            held = f"it holds 0 to {len(self) - 1}" if len(self) else "it holds none"
            raise TraceError(f"{self.path}: there is no episode {episode}", hint=held)
        return Row(
            episode=episode,
            user=self._users[episode],
            session=self._sessions[episode],
            arrival=self._arrivals[episode],
            phase="test" if self._tests[episode] else "train",
            length=self._lengths[episode],
            reward=self._rewards[episode],
            end=cast(End, _ENDS[self._ends[episode]]),
            reason=self._names[self._reasons[episode]],
        )

    def rows(self) -> Iterator[Row]:
        """Yield every episode."""
        return (self[episode] for episode in range(len(self)))

    @property
    def reasons(self) -> list[str]:
        """Why episodes ended, each reason once, in the order of their first time."""
        return self._names[1:]

    @property
    def highest(self) -> float:
        """The highest reward of an episode; 0 if there is none."""
        return max(self._rewards, default=0.0)

    @property
    def sessions(self) -> int:
        """How many sessions users have at most."""
        return max(self._sessions, default=0) + 1

    @property
    def tested(self) -> bool:
        """Whether any episode is a test."""
        return any(self._tests)

    def refresh(self) -> bool:
        """Read what was written since; return whether that was anything.

        Raises TraceError for damage, or for a trace that became shorter, which is another one.
        """
        before = self.size
        if not self.path.exists():
            return False
        for piece in read_pieces(self.path, self.size, size=_BLOCK):
            self._take(piece)
        return self.size > before

    def read(self, episode: int, kinds: type | UnionType | None = None) -> list[Envelope[Message]]:
        """Return the envelopes of an episode, those of *kinds* if they are told.

        Raises TraceError if there is no such episode, or for damage.
        """
        self[episode]
        wanted = None if kinds is None else {kind.__name__.encode() for kind in get_args(kinds)}
        following = episode + 1 < len(self)
        end = self._begins[episode + 1] if following else self.size
        with open_regular(self.path) as file:
            file.seek(self._begins[episode])
            lines = file.read(end - self._begins[episode]).splitlines()
        chosen = (line for line in lines if wanted is None or kind_of(line) in wanted)
        envelopes = [decode_line(self.path, 0, line) for line in chosen]
        return [one for one in envelopes if one.episode == episode]

    def _take(self, data: bytes) -> None:
        for found in _marks(data):
            if found[0].startswith(_LEFT):
                self._left(found[1])
            else:
                start = data.rfind(b"\n", 0, found.start()) + 1
                line = data[start : data.index(b"\n", found.end())]
                self._mark(found[0][_NAMED:-1], line, self.size + start)
        self.size += len(data)

    def _mark(self, kind: bytes, line: bytes, place: int) -> None:
        match kind:
            case b"EpisodeStarted":
                self._begin(line, place)
            case b"EpisodeEnded":
                self._end(line)
            case _ if len(self):
                self._ends[-1] = _ENDS.index("failed" if kind == b"EpisodeFailed" else "finished")

    def _begin(self, line: bytes, place: int) -> None:
        envelope = decode_line(self.path, 0, line)
        started = envelope.message
        if envelope.episode != len(self) or not isinstance(started, EpisodeStarted):
            raise TraceError(f"{self.path}: episode {envelope.episode} is not where it should be")
        self._begins.append(place)
        self._users.append(started.user)
        self._sessions.append(started.session)
        self._arrivals.append(started.arrival)
        self._tests.append(started.phase == "test")
        for column in (self._lengths, self._ends, self._reasons):
            column.append(0)
        self._rewards.append(0.0)

    def _end(self, line: bytes) -> None:
        ended = decode_line(self.path, 0, line).message
        if isinstance(ended, EpisodeEnded) and len(self):
            self._lengths[-1], self._rewards[-1] = ended.length, ended.reward
            if ended.reason == "limit":
                self._reasons[-1] = self._named("limit")

    def _left(self, reason: bytes | None) -> None:
        if len(self):
            self._reasons[-1] = self._named(self._text(reason) if reason else "left")

    def _text(self, escaped: bytes) -> str:
        try:
            return msgspec.json.decode(b'"%b"' % escaped, type=str)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TraceError(f"{self.path}: cannot be read: {error}") from error

    def _named(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)
