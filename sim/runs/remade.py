"""An episode that has not ended, made again: the run on the replies that its journal holds so far.

Nobody is called, and nothing is written. Where a reply is not there yet the handler that waits for
it is left out, and everything beside it goes on, as in the run. What comes out is what the run knew
at the last of its journaled calls, with the user's answers, which no journal tells. All episodes
before it are made again, too, so it takes as long as a replay of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from typing import Any

import msgspec

from agents.models.access import Access
from agents.models.model import ChatReply, ChatRequest
from agents.models.recorded import Forked, Recorded, Resumed, Spoken
from agents.models.remote.embedder import UnknownVectorError
from engine.calls import Call
from engine.errors import CallFailedError, ConfigError
from engine.messages import (
    Envelope,
    EpisodeFailed,
    HandlerFailed,
    Message,
    ModelFailed,
)
from sim.config.stages import Course
from sim.runs.assembly import assemble
from sim.runs.loop import first_error, in_event_loop
from sim.runs.lost import UNRECORDED
from sim.runs.models import samplings
from sim.runs.recorded import RecordedRun, open_recorded
from sim.runs.replay import EnoughError, embedder_of
from storage.environments import Environment
from storage.journal import CallEnded, Recording
from storage.memory import Memory
from storage.traces import episode_of

_decode = msgspec.json.Decoder(Envelope[Message]).decode


@dataclass(frozen=True)
class Remade:
    """An episode as far as it has come: its *envelopes*, and the calls whose reply it *awaits*.

    *ended* says that all of it is there, and only waits for episodes before it to be written.
    *n* of an envelope is its place among all that is there, which what is still to come may move.
    *requests* are all that it asked, those calls' among them; *memories* are what it could recall.
    """

    envelopes: tuple[Envelope[Message], ...]
    ended: bool
    awaits: tuple[ModelFailed, ...]
    requests: tuple[ChatRequest, ...]
    memories: Mapping[str, Memory[Any]] = field(repr=False)

    def record(self, memory: str, position: int) -> Any:
        """Return the record of a memory, by name, at a *position*."""
        return self.memories[memory][position].payload


def remade(
    run: PathLike[str] | str, episode: int, *, environment: Environment | None = None
) -> Remade:
    """Return an episode of the run in directory *run*, made again as far as its journal goes.

    Raises ConfigError if the run has no such episode, or has not begun it; DivergenceError if code
    or data are no longer those of the run; else what `open_recorded` raises.
    """
    maker = _Maker(open_recorded(run, environment), episode)
    in_event_loop(maker.make)
    return maker.made()


@dataclass(frozen=True)
class _Nobody:
    """Says of every call that it is not recorded; it is never asked one that is."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Raise CallFailedError."""
        raise CallFailedError("the reply is not in the journal yet", kind=UNRECORDED)


@dataclass(eq=False)
class _Maker:
    """Makes the episodes of a run again until it comes to the one that is wanted."""

    recorded: RecordedRun
    episode: int
    lines: bytes = b""
    requests: list[ChatRequest] = field(default_factory=list)
    heard: bool = False
    memories: Mapping[str, Memory[Any]] = field(default_factory=dict)

    async def make(self) -> None:
        """Make them."""
        course = self.recorded.course
        access = Access(
            model=_Nobody(),
            sampling=samplings(course),
            seed=course.config.seed,
            recorded=known_calls(self.recorded.recording, course),
            watch=self._watch,
        )
        assembly = assemble(
            course,
            self.recorded.environment,
            answer=access.answer,
            embed=embedder_of(self.recorded).embed,
        )
        assembly.bus.write_to(self)
        self.memories = assembly.memories
        try:
            await assembly.run()
        except (BaseExceptionGroup, EnoughError) as raised:
            error = first_error(raised)
            if not isinstance(error, EnoughError):
                raise
        finally:
            for memory in assembly.memories.values():
                memory.close()

    def write(self, lines: bytes) -> None:
        """Take the lines of an episode; raises EnoughError once it is the one."""
        if episode_of(lines) == self.episode:
            self.lines = lines
            raise EnoughError("made again as far as was asked for")

    def _watch(self, request: ChatRequest, digest: str, ended: CallEnded | None) -> None:
        if request.call.episode == self.episode:
            self.requests.append(request)
            self.heard = self.heard or ended is not None

    def made(self) -> Remade:
        """Return the episode; raises ConfigError if it is not there."""
        if not self.lines:
            raise ConfigError(f"the run has no episode {self.episode}")
        if self.requests and not self.heard:
            what = f"the journal has nothing of episode {self.episode}"
            raise ConfigError(what, hint="it has not begun, or no call of it has been answered yet")
        envelopes = [_decode(line) for line in self.lines.splitlines()]
        awaits = tuple(_awaited(envelopes))
        waiting = {one.cause for one in envelopes if one.message in awaits}
        stand_ins = [one for one in envelopes if one.message in awaits or _waits(one, waiting)]
        # That a handler waits has failed the episode here; EpisodeSettled is never there by that.
        kept = tuple(
            one
            for one in envelopes
            if one not in stand_ins and not (stand_ins and isinstance(one.message, EpisodeFailed))
        )
        return Remade(kept, not stand_ins, awaits, tuple(self.requests), self.memories)


def _awaited(envelopes: Sequence[Envelope[Message]]) -> Iterator[ModelFailed]:
    for envelope in envelopes:
        if isinstance(envelope.message, ModelFailed) and envelope.message.error == UNRECORDED:
            yield envelope.message


def _waits(envelope: Envelope[Message], waiting: set[int | None]) -> bool:
    """Tell whether *envelope* stands for a handler that waits for a reply or for a vector."""
    match envelope.message:
        case HandlerFailed(error=UnknownVectorError.__name__):
            return True
        case HandlerFailed(error=CallFailedError.__name__):
            return envelope.cause in waiting
    return False


def known_calls(ends: Recording, course: Course) -> Recorded:
    """Return what is known of the calls of a run, as if it were resumed, to look at them only."""
    if not (ends.retried or ends.forked):
        return Resumed(ends)
    before = partial(_is_before, course)
    known = Resumed(ends, changing=True) if ends.retried else Forked(ends, before)
    return Spoken(known, ends, course.said, _forget)


def _is_before(course: Course, call: Call) -> bool:
    return course.point_of_call(call) < course.fork_point


def _forget(_: CallEnded) -> None:
    """Keep nothing: what is said there was said by whoever forked."""
