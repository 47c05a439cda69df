"""From a handler's question to the reply it gets: the kernel's way to models.

A recorded end of a call comes before everything else. A new one is journaled before it is used, and
before anything that a run can do without: the cache, the prompts' texts, witnesses. Those may fail
without costing a reply or stopping a run.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from agents.models.guards.retrying import Attempt
from agents.models.model import (
    REFUSAL,
    TOLD,
    ChatModel,
    ChatReply,
    ChatRequest,
    Prompt,
    Sampling,
    request_for,
)
from agents.models.recorded import NothingRecorded, Recorded, call_ended
from engine.attempt import attempted, log, name_of, told_briefly
from engine.calls import Call
from engine.errors import CallFailedError
from engine.messages import ModelFailed, ModelReplied
from storage.journal import AttemptFailed, CallEnded, Identity, Journal
from storage.prompt_texts import PromptText, PromptTexts

Watch: TypeAlias = Callable[[ChatRequest, str, CallEnded | None], None]
Keep: TypeAlias = Callable[[ChatRequest, ChatReply], None]
Witness: TypeAlias = Callable[[ChatRequest, CallEnded], None]

_NO_REPLY = ChatReply(text="", prompt_tokens=0, completion_tokens=0, finish="")


@dataclass
class Usage:
    """What the calls of a run came to; *live* ones were not recorded before.

    Of the prompt's tokens services had *cached* some, and *written* others to a cache; of the
    completion's, *reasoning* ones are not seen. *refused* are replies in which the model would not.
    """

    calls: int = 0
    live: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    written_tokens: int = 0
    reasoning_tokens: int = 0
    refused: int = 0

    @property
    def tokens(self) -> int:
        """Tokens in both directions."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(eq=False)
class Access:
    """Answers the calls of a run.

    *sampling* says for each role how replies are drawn, *recorded* how calls ended that are known
    beforehand. *asking* is told the episode of every call before it is asked anew; *watch* is told
    every request with its digest and, if known, its recorded end; *keep* every reply that was given
    now, once it is journaled; *witnesses* every call that was made now, as it ended. A witness that
    raises is *dropped*: by name, and why. *said* is what services said of the calls that failed.
    """

    model: ChatModel
    sampling: Callable[[Call], Sampling]
    seed: int
    recorded: Recorded = field(default_factory=NothingRecorded)
    journal: Journal | None = None
    prompts: PromptTexts | None = None
    asking: Callable[[int], None] = lambda _: None
    watch: Watch | None = None
    keep: Keep = lambda _, __: None
    witnesses: list[Witness] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    said: dict[Identity, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)

    async def answer(self, call: Call, prompt: Prompt) -> ModelReplied | ModelFailed:
        """Return how the call ended; raises ServiceError if the run cannot go on."""
        request = request_for(prompt, call, self.sampling(call), self.seed)
        digest = request.digest
        ended = self.recorded.find(request, digest)
        if self.watch is not None:
            self.watch(request, digest, ended)
        if ended is None:
            ended = await self._ask(request, digest)
        self._count(ended)
        return outcome(ended, digest)

    def heard(self, ended: CallEnded) -> None:
        """Take note of a call that need not be answered again: all is known that came of it."""
        self._count(ended)

    async def _ask(self, request: ChatRequest, digest: str) -> CallEnded:
        # Lines that a lost reply had led to must be gone before there is another reply.
        self.asking(request.call.episode)
        self.usage.live += 1
        start = time.perf_counter()
        reply, failed = _NO_REPLY, None
        try:
            reply = await self.model.reply(request)
        except CallFailedError as error:
            failed = error
        latency = time.perf_counter() - start
        ended = call_ended(request, digest, reply, latency=latency, error=failed)
        try:
            if self.journal is not None:
                self.journal.append(ended)
        finally:  # it may stand there all the same: what waits for the journal may fail
            if self.prompts is not None:
                self.prompts.add(prompt_text(request, digest))
        if failed is None:
            self.keep(request, reply)
        # A copy: who raises is taken off the list on the way.
        for witness in (*self.witnesses,):
            self._tell(witness, request, ended)
        return ended

    def _tell(self, witness: Witness, request: ChatRequest, ended: CallEnded) -> None:
        _, error = attempted(partial(witness, request, ended))
        if error is not None and witness in self.witnesses:
            self.witnesses.remove(witness)
            name = name_of(witness)
            self.dropped[name] = told_briefly(error)
            log("error", "witness dropped", error, witness=name)

    def _count(self, ended: CallEnded) -> None:
        usage = self.usage
        usage.calls += 1
        if ended.error is not None:
            usage.failed += 1
            self.said[ended.identity] = ended.said
        usage.prompt_tokens += ended.prompt_tokens
        usage.completion_tokens += ended.completion_tokens
        usage.cached_tokens += ended.cached_tokens
        usage.written_tokens += ended.written_tokens
        usage.reasoning_tokens += ended.reasoning_tokens
        usage.refused += ended.finish == REFUSAL


def prompt_text(request: ChatRequest, digest: str) -> PromptText:
    """Return a request as people read it."""
    system, user = request.messages
    return PromptText(
        request=digest, system=system.content, text=user.content, schema=request.schema
    )


def note_attempt(journal: Journal, attempt: Attempt) -> None:
    """Write an attempt that failed to *journal*; how the call ended is written in any case."""
    if attempt.kind is None:
        return
    call = attempt.call
    journal.append(
        AttemptFailed(
            user=call.user,
            session=call.session,
            step=call.step,
            role=call.role,
            occurrence=call.occurrence,
            attempt=attempt.number,
            error=attempt.kind,
            latency=round(attempt.latency, 6),
            wait=round(attempt.wait, 6),
            pause=round(attempt.pause, 6),
            said=attempt.said,
        )
    )


def outcome(ended: CallEnded, digest: str) -> ModelReplied | ModelFailed:
    """Return what a trace has of a call that *ended*, whose request has that *digest*."""
    if ended.text is None:
        return ModelFailed(
            step=ended.step,
            role=ended.role,
            occurrence=ended.occurrence,
            request=digest,
            error=ended.error or "unknown",
        )
    return ModelReplied(
        step=ended.step,
        role=ended.role,
        occurrence=ended.occurrence,
        request=digest,
        text=ended.text,
        prompt_tokens=ended.prompt_tokens,
        completion_tokens=ended.completion_tokens,
        finish=ended.finish if ended.finish in TOLD else "",
    )
