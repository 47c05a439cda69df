"""A trace read once, from its first line to its last: whether each line is in its place.

Whatever else is to be known of the trace hears it on the way, as followers of a run do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.models.access import Usage
from agents.models.model import REFUSAL, TOLD
from engine.errors import TraceError
from engine.messages import (
    Envelope,
    EpisodeFailed,
    EpisodeStarted,
    Message,
    ModelFailed,
    ModelReplied,
    RunEnded,
    RunStarted,
)
from engine.text import counted
from storage.journal import CallEnded, Recording
from storage.traces import decode_line, read_lines, whole_size

Hearer = Callable[[Envelope[Message]], None]


@dataclass(eq=False)
class TraceReader:
    """Reads a trace, and sees whether each line is in its place and each call journaled.

    All that is in its place is told to *hearers*.
    """

    path: Path
    recording: Recording | None = None
    hearers: Sequence[Hearer] = ()
    head: RunStarted | None = None
    envelopes: int = 0
    episodes: int = 0
    failed: int = 0
    usage: Usage = field(default_factory=Usage)
    ended: RunEnded | None = None
    _episode: int | None = None
    _times: list[int] = field(default_factory=list)
    _visit: tuple[int, int] = (0, 0)

    def read(self, *, finished: bool) -> str:
        """Read the trace, and say what there is; raises TraceError `path:line: reason`."""
        for number, line in read_lines(self.path):
            envelope = decode_line(self.path, number, line)
            fault = self._fault(envelope)
            if fault:
                raise TraceError(f"{self.path}:{number}: {fault}")
            self._take(envelope)
            for hear in self.hearers:
                hear(envelope)
        self._check_end(finished=finished)
        torn = self.path.stat().st_size > whole_size(self.path)
        if torn and finished:
            raise TraceError(f"{self.path}: ends within a line: the run had come to its end")
        numbers = {"envelope": self.envelopes, "episode": self.episodes, "call": self.usage.calls}
        what = ", ".join(counted(number, noun) for noun, number in numbers.items())
        return what + (", and a torn last line" if torn else "")

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
        self.usage.cached_tokens += ended.cached_tokens
        self.usage.written_tokens += ended.written_tokens
        self.usage.reasoning_tokens += ended.reasoning_tokens
        same = _outcome(ended) == _told(message)
        return "" if same else f"the {message.role}'s call at step {message.step} ended otherwise"

    def _take(self, envelope: Envelope[Message]) -> None:
        self.envelopes += 1
        match envelope.message:
            case RunStarted():
                self.head = envelope.message
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
            case ModelReplied() as reply:
                self.usage.calls += 1
                self.usage.prompt_tokens += reply.prompt_tokens
                self.usage.completion_tokens += reply.completion_tokens
                self.usage.refused += reply.finish == REFUSAL
            case ModelFailed():
                self.usage.calls += 1
                self.usage.failed += 1
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
    finish = ended.finish if ended.finish in TOLD else ""
    return ended.request, ended.text, ended.prompt_tokens, ended.completion_tokens, finish


def _told(message: ModelReplied | ModelFailed) -> tuple[object, ...]:
    if isinstance(message, ModelFailed):
        return message.request, message.error
    tokens = message.prompt_tokens, message.completion_tokens
    return message.request, message.text, *tokens, message.finish
