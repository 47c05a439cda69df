"""Whether a run directory is whole: structure, digest, journal, vectors, environment; offline."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engine.errors import BillpError, FileError, TraceError
from engine.messages import (
    Envelope,
    EpisodeFailed,
    EpisodeStarted,
    MemoryWritten,
    Message,
    ModelFailed,
    ModelReplied,
    RunEnded,
    RunStarted,
)
from sim.course import read_course
from sim.recorded_run import check_environment, is_imported
from storage.datasets import open_environment
from storage.journal import CallEnded, Recording, read_journal
from storage.memory import saved_length
from storage.runs import RunDirectory, open_run
from storage.traces import decode_line, digest_of, read_head, read_lines, whole_size
from storage.vectors import read_vectors


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was looked at, and how it was found; *fault* is empty if all is well."""

    name: str
    found: str
    fault: str = ""


def verify(run: Path | str, *, environment: str | None = None) -> tuple[Check, ...]:
    """Look at all that a run directory holds; raises RunDirectoryError if it is none."""
    return tuple(_checks(open_run(Path(run)), environment))


def _checks(directory: RunDirectory, environment: str | None) -> Iterator[Check]:
    finished = directory.summary.exists()
    reader = _Reader(directory.trace)
    imported = is_imported(directory)
    if imported:
        yield Check(name="journal", found="none: the run was imported")
    else:
        yield _checked("journal", lambda: reader.open_journal(directory.journal))
    if _has_vectors(directory, finished=finished):
        yield _checked("vectors", lambda: _vectors(directory.vectors, finished=finished))
    trace = _checked("trace", lambda: reader.read(finished=finished))
    yield trace
    if finished:
        yield _checked("digest", lambda: _digest(directory))
    if finished and not trace.fault:  # else it was not read to its end
        yield _checked("memory", lambda: reader.memory(directory.memory))
    if imported:
        yield Check(name="environment", found="not known: the run was imported")
    else:
        yield _checked("environment", lambda: _environment(directory, environment))


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name=name, found=look())
    except BillpError as error:
        return Check(name=name, found="", fault=str(error))


def _has_vectors(directory: RunDirectory, *, finished: bool) -> bool:
    """Tell whether there are vectors of a service, or must be."""
    if directory.vectors.exists() or not finished or is_imported(directory):
        return directory.vectors.exists()
    try:
        return bool(read_course(directory.read_config()).config.embedding_model)
    except BillpError:  # said by who looks for the environment
        return False


def _vectors(path: Path, *, finished: bool) -> str:
    if not path.exists():
        raise FileError(f"{path}: there is no such file")
    known, size = read_vectors(path)
    torn = path.stat().st_size > size
    if torn and finished:  # no run ends without its last line
        raise FileError(f"{path}: ends within a line: the run had come to its end")
    failed = sum(entry.vector is None for entry in known.values())
    what = f"{len(known) - failed:,} texts, {failed:,} without a vector"
    return what + (", and a torn last line" if torn else "")


def _digest(directory: RunDirectory) -> str:
    told, found = str(directory.read_summary().get("digest")), digest_of(directory.trace)
    if told != found:
        raise TraceError(f"{directory.summary}: tells the digest {told[:12]}, it is {found[:12]}")
    return found


def _environment(directory: RunDirectory, given: str | None) -> str:
    name = given or read_course(directory.read_config()).config.environment
    environment = open_environment(name)
    if whole_size(directory.trace):  # a run may have been killed before its first line
        check_environment(read_head(directory.trace), environment, name)
    return f"{name}, {environment.head.digest[:12]}"


@dataclass(eq=False)
class _Reader:
    """Reads a trace once, and sees whether each line is in its place and each call journaled."""

    path: Path
    recording: Recording | None = None
    envelopes: int = 0
    episodes: int = 0
    failed: int = 0
    calls: int = 0
    written: Counter[str] = field(default_factory=Counter)
    ended: RunEnded | None = None
    _episode: int | None = None
    _times: list[int] = field(default_factory=list)
    _visit: tuple[int, int] = (0, 0)

    def open_journal(self, path: Path) -> str:
        """Read the journal."""
        self.recording = read_journal(path)
        torn = ", and a torn last line" if self.recording.torn else ""
        return f"{len(self.recording):,} calls{torn}"

    def read(self, *, finished: bool) -> str:
        """Read the trace."""
        for number, line in read_lines(self.path):
            envelope = decode_line(self.path, number, line)
            fault = self._fault(envelope)
            if fault:
                raise TraceError(f"{self.path}:{number}: {fault}")
            self._take(envelope)
        self._check_end(finished=finished)
        torn = self.path.stat().st_size > whole_size(self.path)
        what = f"{self.envelopes:,} envelopes, {self.episodes:,} episodes, {self.calls:,} calls"
        return what + (", and a torn last line" if torn else "")

    def memory(self, directory: Path) -> str:
        """Compare the saved memories, if they were kept, with what the trace tells of them."""
        if not directory.exists():
            return "not kept" if self.written else "none"
        lengths = {name: saved_length(directory, name) for name in self.written}
        for name, length in lengths.items():
            if length != self.written[name]:
                what = f"holds {length:,} records, the trace tells of {self.written[name]:,}"
                raise TraceError(f"{directory / name}.jsonl: {what}")
        return ", ".join(f"{length:,} of {name}" for name, length in lengths.items()) or "none"

    def _fault(self, envelope: Envelope[Message]) -> str:
        """Return what is wrong with the place of an envelope, if anything is."""
        if self.ended is not None:
            return "something stands after RunEnded"
        if isinstance(envelope.message, RunStarted) is not (self.envelopes == 0):
            return "RunStarted must stand first, and only there"
        if isinstance(envelope.message, RunStarted | RunEnded):
            return self._fault_of_run(envelope)
        if envelope.episode != self._episode:
            return self._fault_of_first(envelope)
        return self._fault_of_next(envelope)

    def _fault_of_run(self, envelope: Envelope[Message]) -> str:
        if envelope.episode is not None:
            return "a message of the run stands in an episode"
        n = int(isinstance(envelope.message, RunEnded))
        return "" if envelope.n == n else f"expected n {n}, got {envelope.n}"

    def _fault_of_first(self, envelope: Envelope[Message]) -> str:
        if envelope.episode != self.episodes:
            return f"expected episode {self.episodes}, got {envelope.episode}"
        if not isinstance(envelope.message, EpisodeStarted) or envelope.cause is not None:
            return "an episode must begin with EpisodeStarted, without a cause"
        return "" if envelope.n == 0 else f"expected n 0, got {envelope.n}"

    def _fault_of_next(self, envelope: Envelope[Message]) -> str:
        n, cause = envelope.n, envelope.cause
        if n != len(self._times):
            return f"expected n {len(self._times)}, got {n}"
        if cause is None or not 0 <= cause < n:
            return f"the cause of n {n} must be an earlier envelope, got {cause}"
        if envelope.time < self._times[cause]:
            return f"n {n} is earlier than its cause"
        return self._fault_of_call(envelope.message)

    def _fault_of_call(self, message: Message) -> str:
        if self.recording is None or not isinstance(message, ModelReplied | ModelFailed):
            return ""
        known = (*self._visit, message.step, message.role, message.occurrence)
        ended = self.recording.get(known)
        if ended is None:
            return f"the {message.role}'s call at step {message.step} is not in the journal"
        same = _outcome(ended) == _told(message)
        return "" if same else f"the {message.role}'s call at step {message.step} ended otherwise"

    def _take(self, envelope: Envelope[Message]) -> None:
        self.envelopes += 1
        match envelope.message:
            case RunStarted():
                return
            case RunEnded():
                self.ended = envelope.message
                return
            case EpisodeStarted():
                self._episode = envelope.episode
                self._visit = envelope.message.user, envelope.message.session
                self._times.clear()
                self.episodes += 1
            case EpisodeFailed():
                self.failed += 1
            case MemoryWritten():
                self.written[envelope.message.memory] += envelope.message.count
            case ModelReplied() | ModelFailed():
                self.calls += 1
        self._times.append(envelope.time)

    def _check_end(self, *, finished: bool) -> None:
        if self.ended is None:
            if finished:
                raise TraceError(f"{self.path}: ends early: the run had come to its end")
            return
        counted = RunEnded(episodes=self.episodes, failed=self.failed)
        if self.ended != counted:
            raise TraceError(f"{self.path}: holds {counted}, but ends with {self.ended}")


def _outcome(ended: CallEnded) -> tuple[object, ...]:
    if ended.text is None:
        return ended.request, ended.error
    return ended.request, ended.text, ended.prompt_tokens, ended.completion_tokens


def _told(message: ModelReplied | ModelFailed) -> tuple[object, ...]:
    if isinstance(message, ModelFailed):
        return message.request, message.error
    return message.request, message.text, message.prompt_tokens, message.completion_tokens
