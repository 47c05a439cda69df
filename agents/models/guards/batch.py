"""One batch, from a file of calls to the replies: uploaded, begun, polled, collected.

What goes over the network is insisted on, as with calls (`Patience`); a service that cannot be had
stops the run, and the batch stays where it is.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec

from agents.models.batches import BatchService, BatchState, Line, NoSuchFileError, Outcome
from agents.models.guards.retrying import Patience
from agents.models.model import ChatReply, ChatRequest, TransientError
from engine.attempt import Level, log
from engine.chance import chance
from engine.errors import ConfigError, ModelError, ServiceError
from storage.batches import BatchCreated, BatchEnded, BatchFile, FileUploaded

T = TypeVar("T")

_FIRST_POLL = 1.0  # seconds; doubled up to what is set


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPace:
    """A batch is sent *wait* seconds after the last call came, or with *size* calls.

    Then it is asked for every *poll* seconds, more often at first.
    """

    wait: float = 2.0
    size: int = 50_000
    poll: float = 60.0

    def __post_init__(self) -> None:
        if self.size < 1 or self.wait < 0 or not self.poll > 0:
            raise ConfigError(f"expected a size of 1, a wait of 0 and a poll above 0: {self}")


@dataclass(frozen=True, slots=True)
class Errands:
    """What all batches of a *service* share: where they are written down, and their pace."""

    service: BatchService
    journal: BatchFile
    pace: BatchPace
    patience: Patience
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what *ask* returns; raises ServiceError at the end of patience."""
        stream = chance(0, 0, 0, 0, "batch")
        number = 1
        while True:
            try:
                return await ask()
            except TransientError as error:
                pause = self.patience.pause(number, error.retry_after, stream)
                if number >= self.patience.attempts:
                    hint = "see that the service is running"
                    raise ServiceError(str(error), hint=hint) from error
            number += 1
            await self.sleep(pause)


@dataclass(eq=False, slots=True)
class Waiting:
    """Who asked, *since* when, and what is to tell them the *reply*."""

    request: ChatRequest
    reply: "asyncio.Future[ChatReply]"
    since: float = field(default_factory=time.monotonic)

    def answer(self, reply: ChatReply) -> None:
        """Give the reply; all that time was waiting."""
        if not self.reply.done():
            waited = time.monotonic() - self.since
            self.reply.set_result(msgspec.structs.replace(reply, wait=reply.wait + waited))

    def fail(self, error: BaseException) -> None:
        """Give an error instead."""
        if isinstance(error, TransientError):
            error.wait += time.monotonic() - self.since
        if not self.reply.done():
            self.reply.set_exception(error)


@dataclass(eq=False)
class Batch:
    """A batch of so many *lines*, and who is *waiting* for which of them, by name.

    It has a *file* once that is uploaded, a *name* once the service has begun, and *outcomes* once
    it *ended*.
    """

    errands: Errands
    lines: int
    file: str = ""
    name: str = ""
    waiting: dict[str, Waiting] = field(default_factory=dict)
    ended: BatchState | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    task: "asyncio.Task[None] | None" = None

    def start(self, lines: Sequence[Line] = ()) -> None:
        """Send *lines*, or go on with a batch that was sent before, in a task of its own."""
        self.task = asyncio.create_task(self._run(lines))
        self.task.add_done_callback(self._done)

    def add(self, name: str, waiting: Waiting) -> None:
        """Let somebody wait for a call of the batch."""
        if self.ended is None:
            self.waiting[name] = waiting
        elif not self._settle(self.ended, name, waiting):
            self._write_end(self.ended, (name,))

    async def _run(self, lines: Sequence[Line]) -> None:
        if lines:
            await self._upload(lines)
            lines = ()  # it may take a day, and they may be large
        if not self.name:
            try:
                await self._begin()
            except NoSuchFileError as error:
                self._give_up(error)
                return
        ended = await self._poll()
        for file in filter(None, (ended.output, ended.errors)):
            fetch = partial(self.errands.service.outcomes, file, self.lines)
            self.outcomes |= await self.errands.insist(fetch)
        self.ended = ended  # only now: who comes from here on looks at what is there
        self._answer(ended)

    def _done(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        for waiting in self.waiting.values():
            waiting.fail(error)
        if not self.waiting:  # so nobody would hear of it but the loop, which stops the run
            raise error

    # -- sending

    async def _upload(self, lines: Sequence[Line]) -> None:
        errands = self.errands
        self.file = await errands.insist(partial(errands.service.upload, lines))
        names = tuple(line.name for line in lines)
        errands.journal.append(FileUploaded(file=self.file, url=errands.service.url, names=names))

    async def _begin(self) -> None:
        state = await self.errands.insist(self._begun)
        self.name = state.name
        self.errands.journal.append(BatchCreated(batch=self.name, file=self.file))
        log("info", "batch sent", batch=self.name, calls=self.lines, url=self.errands.service.url)

    def _give_up(self, error: NoSuchFileError) -> None:
        """Let all be sent anew: the service never began, and has forgotten what with."""
        self.ended = BatchState(name="", status="expired", file=self.file)
        log("warning", "a file of calls is gone, which go in another batch", reason=str(error))
        self._write_end(self.ended, (*self.waiting,))
        for waiting in self.waiting.values():
            waiting.fail(TransientError(str(error), kind="expired"))
        self.waiting.clear()

    async def _begun(self) -> BatchState:
        """Let the service begin, unless it has: an answer may have been lost, or a run killed."""
        service = self.errands.service
        return await service.find(self.file) or await service.create(self.file)

    async def _poll(self) -> BatchState:
        errands = self.errands
        pause = min(_FIRST_POLL, errands.pace.poll)
        while True:
            state = await errands.insist(partial(errands.service.state, self.name))
            if state.ended:
                return state
            await errands.sleep(pause)
            pause = min(2 * pause, errands.pace.poll)

    # -- collecting

    def _answer(self, ended: BatchState) -> None:
        waiting, self.waiting = self.waiting, {}
        failed = [name for name, who in waiting.items() if not self._settle(ended, name, who)]
        self._write_end(ended, failed)
        level: Level = "warning" if failed else "info"
        told = {"batch": self.name, "calls": self.lines, "without_reply": len(failed)}
        log(level, f"batch {ended.status}", **told)

    def _write_end(self, ended: BatchState, failed: Sequence[str]) -> None:
        entry = BatchEnded(file=self.file, status=ended.status, failed=tuple(failed))
        self.errands.journal.append(entry)

    def _settle(self, ended: BatchState, name: str, waiting: Waiting) -> bool:
        """Tell somebody what came of their call; return whether that was a reply."""
        outcome = self.outcomes.pop(name, None) or Outcome(error=f"batch_{ended.status}")
        try:
            if outcome.error:
                raise _unanswered(ended, outcome)
            reply = self.errands.service.read(waiting.request, outcome)
        except ModelError as error:
            waiting.fail(error)
            return False
        waiting.answer(reply)
        return True


def _unanswered(ended: BatchState, outcome: Outcome) -> ModelError:
    """Return what it means that a batch has no reply to a call."""
    batch, said = f"the batch {ended.name}", outcome.said or ended.said
    after = f": {said}" if said else ""
    if outcome.error == "batch_cancelled":
        what = f"{batch} was cancelled, with {ended.done:,} of {ended.total:,} calls done"
        return ServiceError(what, hint="what is left is sent in another batch")
    if outcome.error == "batch_failed":
        hint = "mend that, or send fewer calls at once: --set batch_size=…"
        return ServiceError(f"the service refuses {batch}{after}", hint=hint)
    if outcome.error == "batch_completed":
        return TransientError(f"{batch} has no line for a call", kind="malformed")
    kinds = {"batch_expired": "expired", "request_timeout": "timeout"}
    what = f"{batch} has no reply to a call, but {outcome.error}{after}"
    return TransientError(what, kind=kinds.get(outcome.error, "server"), said=said)
