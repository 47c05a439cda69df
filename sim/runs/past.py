"""The past of a run: what came of its closed episodes, known without making them again.

A checkpoint holds what they left for the memories, the trace all else. It is believed as far as its
lines agree with the trace, and the journal explains each call in them. The last episodes before its
end are made again all the same: code or data that changed since are found by them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec

from agents.models.access import outcome
from engine.attempt import log
from engine.closed import Closed, Left, closed_of
from engine.errors import FileError, TraceError
from engine.messages import (
    Envelope,
    EpisodeStarted,
    Message,
    ModelFailed,
    ModelReplied,
    RunStarted,
)
from engine.records import MemoryName
from sim.runs.assembly import head
from sim.runs.recorded import RecordedRun
from storage.checkpoints import Checkpoint, lines_digest, read_checkpoint
from storage.journal import CallEnded, Identity
from storage.memory import read_records
from storage.provenance import this_code
from storage.reading import open_regular
from storage.traces import Survey, survey

MADE_AGAIN = 16
"""So many of the last recorded episodes are made again."""

_decode = msgspec.json.Decoder(Envelope[Message]).decode


class Remains(Protocol):
    """Knows what episodes left for the memories."""

    def left(
        self, episode: int, digest: str, names: Mapping[str, MemoryName[Any]], /
    ) -> Sequence[Left]:
        """Return what an *episode* left, whose lines have that *digest*; raises ValueError."""
        ...


@dataclass(eq=False)
class Past:
    """The episodes before *until*: *surveyed* in the *trace*, with what they left in *remains*.

    Their calls must be among the *ends*, if there are any. The first that is in doubt ends it.
    """

    trace: Path = field(default_factory=Path)
    surveyed: Survey = field(default_factory=Survey)
    remains: Remains = field(default_factory=lambda: Checkpoint(Path()))
    names: Mapping[str, MemoryName[Any]] = field(default_factory=dict)
    ends: Mapping[Identity, CallEnded] | None = None
    until: int = 0

    def known(
        self,
        number: int,
        started: EpisodeStarted,
        *,
        heard: Callable[[CallEnded], None] = lambda _: None,
    ) -> Closed | None:
        """Return what came of an episode that starts so, None if it is to be made again.

        *heard* is told how its calls ended.
        """
        if number >= self.until:
            return None
        try:
            closed, calls = self._known(number, started)
        except (OSError, ValueError) as doubt:
            self._end(number, str(doubt))
            return None
        for call in calls:
            heard(call)
        return closed

    def _known(self, number: int, started: EpisodeStarted) -> tuple[Closed, list[CallEnded]]:
        lines = self._lines(number)
        left = self.remains.left(number, lines_digest(lines), self.names)
        envelopes = [_decode(line) for line in lines.splitlines()]
        if not envelopes or envelopes[0].message != started:
            raise ValueError("the trace tells of another visit")
        return closed_of(envelopes, lines, left), self._calls(started, envelopes)

    def _lines(self, number: int) -> bytes:
        """Return the lines of an episode, behind which there is another one."""
        begin, end = self.surveyed.begins[number : number + 2]
        with open_regular(self.trace) as file:
            file.seek(begin)
            return file.read(end - begin)

    def _calls(
        self, started: EpisodeStarted, envelopes: list[Envelope[Message]]
    ) -> list[CallEnded]:
        """Return how the calls of an episode ended; raises ValueError if that is not journaled."""
        if self.ends is None:
            return []
        found = []
        for told in (envelope.message for envelope in envelopes):
            if isinstance(told, ModelReplied | ModelFailed):
                name = (started.user, started.session, told.step, told.role, told.occurrence)
                ended = self.ends.get(name)
                if ended is None or outcome(ended, ended.request) != told:
                    raise ValueError("the journal does not explain its calls")
                found.append(ended)
        return found

    def _end(self, number: int, why: str) -> None:
        self.until = number
        what = "the checkpoint is not believed from here on: all is made again"
        log("warning", what, episode=number, why=why)


def past_of(recorded: RecordedRun, surveyed: Survey) -> tuple[Past, int]:
    """Return the past of a run that goes on, and how many bytes of its checkpoint stay."""
    directory, course = recorded.directory, recorded.course
    until = len(surveyed.begins) - max(MADE_AGAIN, 1)  # the last one may not be whole
    found = read_checkpoint(directory.checkpoint, origin_of(head(course, recorded.environment)))
    known = min(until, len(found.places))
    if found.doubt and until > 0:
        what = "the checkpoint is not believed as a whole: the rest is made again"
        log("warning", what, why=found.doubt, episodes=max(until - known, 0))
    past = Past(
        trace=directory.trace,
        surveyed=surveyed,
        remains=found,
        names={name.name: name for name in course.config.cast.memories},
        ends=recorded.recording,
        until=known,
    )
    return past, found.size


def past_before(recorded: RecordedRun, episode: int) -> Past:
    """Return the past of a recorded run before an *episode*, as it is recorded.

    Raises TraceError if the trace does not hold the episode. Where it is not known what episodes
    left for the memories they are made again.
    """
    directory = recorded.directory
    surveyed = survey(directory.trace)
    if surveyed.place_of(episode) is None:
        held = f"it holds 0 to {len(surveyed.begins) - 1}" if surveyed.begins else "it holds none"
        raise TraceError(f"{directory.trace}: there is no episode {episode}", hint=held)
    names = {name.name: name for name in recorded.course.config.cast.memories}
    past = Past(directory.trace, surveyed, names=names, until=episode)
    if not recorded.finished:
        origin = origin_of(head(recorded.course, recorded.environment))
        past.remains = read_checkpoint(directory.checkpoint, origin)
        return past
    try:
        past.remains = Saved.before(episode, directory.memory, names)
    except FileError as error:
        log("warning", "the memories are not believed: all is made again", why=str(error))
        past.until = 0
    return past


@dataclass(frozen=True)
class Saved:
    """What episodes left, as the memories of a finished run hold it."""

    records: Mapping[int, Sequence[Left]]

    @classmethod
    def before(cls, episode: int, directory: Path, names: Mapping[str, MemoryName[Any]]) -> Self:
        """Return what those before an *episode* left; raises FileError."""
        records: dict[int, list[Left]] = {}
        for name in names.values():
            for record in read_records(directory, name):
                if record.episode < episode:
                    records.setdefault(record.episode, []).append((name.name, record))
        return cls(records)

    def left(self, episode: int, _: str, __: Mapping[str, MemoryName[Any]]) -> Sequence[Left]:
        """Return what an *episode* left, whatever its lines are: no digest of them was kept."""
        return self.records.get(episode, ())


def origin_of(started: RunStarted) -> str:
    """Return what a checkpoint knows a run by that *started* so, and the code that runs it."""
    return f"{this_code()} {lines_digest(msgspec.json.encode(started))}"
