"""What goes between a run and its workers: frames, each a length and a message.

Both ends are of one installation. On one machine the socket between them has no name, so nobody
else can write to it; in a cluster whoever is in it can, as with all else there.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
import numpy as np

from agents.models.model import ChatReply, Prompt
from engine.attempt import Level
from engine.calls import Call
from engine.closed import Left
from engine.errors import (
    BillpError,
    ConfigError,
    DataError,
    LawError,
    RunDirectoryError,
    ServiceError,
)
from engine.messages import EpisodeEnded, EpisodeStarted, ModelFailed, ModelReplied
from engine.records import Record
from sim.runs.workers.ways import Way
from storage.memory import Memory


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record for a memory; *load* is its payload, encoded."""

    memory: str
    episode: int
    key: bytes
    load: bytes


class Begin(msgspec.Struct, frozen=True, tag=True):
    """What is run: a course, as run.toml says it, in an *environment* of that digest.

    Replies to *roles* are reckoned by workers.
    """

    settings: dict[str, Any]
    environment: str
    roles: tuple[str, ...]


class Remember(msgspec.Struct, frozen=True, tag=True):
    """The next records of the memories, in the order of their logs."""

    records: tuple[Kept, ...]


class Play(msgspec.Struct, frozen=True, tag=True):
    """An episode to be run."""

    number: int
    started: EpisodeStarted


class Said(msgspec.Struct, frozen=True, tag=True):
    """How a call ended."""

    call: Call
    outcome: ModelReplied | ModelFailed


class Embedded(msgspec.Struct, frozen=True, tag=True):
    """The vector that was asked for as *number*."""

    number: int
    vector: bytes


class Asks(msgspec.Struct, frozen=True, tag=True):
    """A call to a model, with its *reply* if the worker knows it."""

    call: Call
    prompt: Prompt
    reply: ChatReply | None


class Embeds(msgspec.Struct, frozen=True, tag=True):
    """A text whose vector is wanted, given as lines."""

    number: int
    lines: tuple[str, ...]


class Moved(msgspec.Struct, frozen=True, tag=True):
    """The clock of an episode has moved."""

    number: int
    clock: int


class Over(msgspec.Struct, frozen=True, tag=True):
    """What an episode came to."""

    number: int
    lines: bytes
    clock: int
    failed: bool
    ended: EpisodeEnded | None
    left: tuple[Kept, ...]


Fact: TypeAlias = str | bool | int | float | None


class Logged(msgspec.Struct, frozen=True, tag=True):
    """What is to be logged: the run says how, and where."""

    level: Level
    event: str
    facts: dict[str, Fact]


class Broke(msgspec.Struct, frozen=True, tag=True):
    """An error that stops the run."""

    kind: str
    text: str
    hint: str = ""


ToWorker: TypeAlias = Begin | Remember | Play | Said | Embedded
FromWorker: TypeAlias = Asks | Embeds | Moved | Over | Logged | Broke

_encode = msgspec.msgpack.Encoder().encode
_THEIRS = (ConfigError, DataError, LawError, RunDirectoryError, ServiceError)
_STOPS: dict[str, type[BillpError]] = {error.__name__: error for error in _THEIRS}


def kept(memory: str, record: Record[Any]) -> Kept:
    """Return a record as it is sent."""
    return Kept(memory, record.episode, record.key.tobytes(), _encode(record.payload))


def record_of(one: Kept, memories: Mapping[str, Memory[Any]]) -> Left:
    """Return a record that was sent, with the memory that it is for."""
    key = np.frombuffer(one.key, dtype=np.int8)
    load = msgspec.msgpack.decode(one.load, type=memories[one.memory].name.payload)
    return one.memory, Record(one.episode, key, load)


def broke(error: BaseException) -> Broke:
    """Return an error as it is sent."""
    hint = error.hint if isinstance(error, BillpError) else ""
    return Broke(type(error).__name__, str(error) or type(error).__name__, hint)


def error_of(one: Broke) -> BaseException:
    """Return an error that was sent; what is none of those that stop runs broke a law."""
    if one.kind == MemoryError.__name__:
        return MemoryError(f"in a worker: {one.text}")
    return _STOPS.get(one.kind, LawError)(one.text, hint=one.hint)


@dataclass(eq=False)
class Link:
    """One end of a *way* between a run and a worker; *decode* reads what the other end sends."""

    way: Way
    decode: Callable[[bytes], Any]
    _unsent: list[bytes] = field(default_factory=list)

    def send(self, message: object) -> None:
        """Send *message*, with all others of this step of the loop."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        data = _encode(message)
        self._unsent += (len(data).to_bytes(4, "big"), data)

    def _flush(self) -> None:
        data, self._unsent = b"".join(self._unsent), []
        self.way.write(data)

    async def hear(self, take: Callable[[Any], None]) -> None:
        """Let *take* have every message, until the other end is gone."""
        rest = b""
        while part := await self.way.read():
            rest += part
            end = 0
            for begin, end in _frames(rest):
                take(self.decode(rest[begin:end]))
            rest = rest[end:]


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where whole frames begin and end."""
    begin = 4
    while begin <= len(data):
        end = begin + int.from_bytes(data[begin - 4 : begin], "big")
        if end > len(data):
            return
        yield begin, end
        begin = end + 4
