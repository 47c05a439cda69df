"""Calls whose end is recorded: what makes replay, resume and fork."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from agents.models.model import ChatReply, ChatRequest
from engine.calls import Call
from engine.errors import CallFailedError, DivergenceError, ServiceError
from storage.journal import CallEnded, Identity, identity

Ends = Mapping[Identity, CallEnded]


class Recorded(Protocol):
    """Knows how some calls ended."""

    def find(self, request: ChatRequest, digest: str) -> CallEnded | None:
        """Return how the call ended, or None if it is to be asked now."""
        ...


class NothingRecorded:
    """A new run."""

    def find(self, request: ChatRequest, digest: str) -> CallEnded | None:
        """Return None."""
        return None


@dataclass(frozen=True)
class Replayed:
    """All calls of a run, whatever they ask today: a wrong prompt is found in the trace."""

    ends: Ends

    def find(self, request: ChatRequest, digest: str) -> CallEnded | None:
        """Return how the call ended."""
        return self.ends.get(identity(request.call))


@dataclass(frozen=True)
class Resumed:
    """The calls of a run that goes on. Failed ones are asked again if *again* says so.

    Then what they teach changes later prompts, so a reply counts only for the prompt it was given
    to (*changing*). Elsewhere another prompt means that this is not the run that was recorded.
    """

    ends: Ends
    again: bool = False
    changing: bool = False

    def find(self, request: ChatRequest, digest: str) -> CallEnded | None:
        """Return how the call ended; raises DivergenceError if it asked something else."""
        ended = self.ends.get(identity(request.call))
        if ended is None or (self.again and ended.error is not None):
            return None
        if ended.request == digest:
            return ended
        if self.changing:
            return None
        raise other_prompt(request)


@dataclass(frozen=True)
class Forked:
    """The calls of a fork and its parent: all *before* the fork, then those that ask the same."""

    ends: Ends
    before: Callable[[Call], bool]

    def find(self, request: ChatRequest, digest: str) -> CallEnded | None:
        """Return how the call ended; raises DivergenceError if it differs before the fork."""
        ended = self.ends.get(identity(request.call))
        if ended is not None and ended.request == digest:
            return ended
        if self.before(request.call):
            raise other_prompt(request)
        return None


@dataclass(frozen=True)
class Spoken:
    """What is *said* in place of a model's reply; all other calls are *recorded* or not.

    *keep* is told of what is said for the first time.
    """

    recorded: Recorded
    ends: Ends
    said: Callable[[Call], str | None]
    keep: Callable[[CallEnded], None]

    def find(self, request: ChatRequest, digest: str) -> CallEnded | None:
        """Return how the call ended; raises what *recorded* does."""
        text = self.said(request.call)
        if text is None:
            return self.recorded.find(request, digest)
        said = ChatReply(text=text, prompt_tokens=0, completion_tokens=0, finish="said", attempts=0)
        ended = call_ended(request, digest, said)
        if self.ends.get(identity(request.call)) != ended:
            self.keep(ended)
        return ended


def other_prompt(request: ChatRequest) -> DivergenceError:
    """Return the error of a call that does not ask what was recorded."""
    call = request.call
    what = f"the {call.role}'s call at step {call.step}"
    return DivergenceError(
        f"episode {call.episode}: {what} does not ask what was recorded",
        hint="code or data changed since; billp replay shows where",
    )


def call_ended(
    request: ChatRequest,
    digest: str,
    reply: ChatReply,
    *,
    latency: float = 0.0,
    error: CallFailedError | None = None,
) -> CallEnded:
    """Return how a call ended as it is journaled; after an *error* its *reply* says nothing."""
    call = request.call
    return CallEnded(
        user=call.user,
        session=call.session,
        step=call.step,
        role=call.role,
        occurrence=call.occurrence,
        request=digest,
        text=None if error else reply.text,
        error=error.kind if error else None,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        finish=reply.finish,
        latency=round(latency, 6),
        wait=round(reply.wait, 6),
        attempts=reply.attempts,
        said=error.said if error else "",
        cached_tokens=reply.cached_tokens,
        written_tokens=reply.written_tokens,
        reasoning_tokens=reply.reasoning_tokens,
    )


class NoModel:
    """A model that must not be called: a replay calls nobody."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Raise ServiceError: the journal should have had the reply."""
        call = request.call
        what = f"episode {call.episode}: the {call.role}'s call at step {call.step}"
        raise ServiceError(f"{what} is not in the journal", hint="is calls.jsonl complete?")
