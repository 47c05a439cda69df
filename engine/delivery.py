"""What a handler gets: a message, and what it may do about it.

The laws that keep real time out of a trace are held here: a handler publishes and asks from its own
task and before it returns; a call has one identity and one owner; a stream of chance has one user.
Causality is visibility: a handler sees the chain of causes above its message, and nothing of what
happens beside it. A breach stops the run with a `LawError` that names the handler.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeAlias, TypeVar, get_args

import msgspec

from engine.attempt import name_of
from engine.calls import Call, Request
from engine.chance import Stream
from engine.episode import OUTSIDE, Episode, Handling
from engine.errors import BillpError, CallFailedError, LawError, ServiceError
from engine.messages import (
    EpisodeSettled,
    EpisodeStarted,
    MemoryWritten,
    Message,
    ModelFailed,
    ModelReplied,
)
from engine.records import MemoryName, P, Record, Vector, View
from engine.tree import Node

M_co = TypeVar("M_co", bound=msgspec.Struct, covariant=True)
T = TypeVar("T")

_KERNELS = OUTSIDE | {EpisodeStarted, EpisodeSettled, MemoryWritten, ModelReplied, ModelFailed}
_HANDLERS = frozenset(get_args(Message)) - _KERNELS


class Delivery(Generic[M_co, T]):
    """A message for one handler, with what the handler may do about it."""

    __slots__ = ("_episode", "_handling", "_node", "_returned", "_sequence", "message", "task")

    def __init__(self, episode: Episode[T], node: Node[T], handling: Handling) -> None:
        message: Any = node.message  # of the type that the handler subscribed to
        self.message: M_co = message
        self._episode = episode
        self._node = node
        self._handling = handling
        self._sequence = 0
        self._returned = False
        self.task: asyncio.Task[Any] | None = None

    @property
    def number(self) -> int:
        """The number of the episode."""
        return self._episode.number

    @property
    def trajectory(self) -> T:
        """The chain of causes above the message, the message included, folded."""
        return self._node.trajectory

    @property
    def episode(self) -> tuple[Message, ...]:
        """The whole episode in canonical order; only under `EpisodeSettled`."""
        if not isinstance(self._node.message, EpisodeSettled):
            raise self._breach("looks at the whole episode before it is settled")
        return self._episode.messages()

    def publish(self, message: Message, after: int = 0) -> None:
        """Publish *message*, caused by this one, *after* milliseconds of virtual time."""
        self._check("publishes")
        if type(message) not in _HANDLERS:
            raise self._breach(f"publishes {message!r}, which is for the kernel alone")
        if type(after) is not int:
            raise self._breach(f"publishes between two milliseconds ({after!r} ms)")
        if after < 0:
            raise self._breach(f"publishes into the past ({after} ms)")
        self._check_depth()
        self._episode.publish(message, self._node, self._place(), after)

    def ask(self, request: Request) -> Awaitable[ModelReplied]:
        """Ask the model; awaiting gives its reply or raises `CallFailedError`.

        Identity and place are taken now, so several replies may be gathered.
        """
        self._check("asks")
        self._check_depth()
        episode = self._episode
        occurrence = episode.occurrence(request.role, request.step, self)
        if occurrence is None:
            raise self._breach(f"asks as {request.role!r} at step {request.step}: another one did")
        call = Call(
            episode.number, episode.user, episode.session, request.step, request.role, occurrence
        )
        # A task of its own: what was asked is recorded even where nobody awaits it.
        task = asyncio.Task(self._answered(call, request, self._place()))
        episode.keep(task, f"{self._handling.name} → {request.role}", self._asked)
        return task

    def embed(self, lines: Sequence[str]) -> Awaitable[Vector]:
        """Return the vector of a text given as lines."""
        return self._episode.wiring.embed(lines)

    def view(self, memory: MemoryName[P]) -> View[P]:
        """Return what the episode may see of *memory*."""
        return self._episode.views[memory.name]

    def remember(self, memory: MemoryName[P], entries: Sequence[tuple[Vector, P]]) -> None:
        """Leave records for *memory*; episodes that arrive later than this one ended see them.

        Only under `EpisodeSettled`: an episode that fails leaves nothing, nor does one that is not
        teaching.
        """
        self._check("remembers")
        if not isinstance(self._node.message, EpisodeSettled):
            raise self._breach("remembers before the episode is settled")
        if memory.name not in self._episode.views:
            raise self._breach(f"remembers in {memory.name!r}, which is no memory of this run")
        if not self._episode.teaching:
            return
        message = MemoryWritten(memory=memory.name, count=len(entries))
        node = self._episode.publish(message, self._node, self._place(), 0)
        number = self._episode.number
        # On the node: so records take the canonical order of what left them.
        node.records = tuple((memory.name, Record(number, key, load)) for key, load in entries)

    def chance(self, purpose: str, step: int = 0) -> Stream:
        """Return the stream of chance for *purpose* at *step*; nobody else gets it."""
        self._check("draws")
        stream = self._episode.stream(step, purpose)
        if stream is None:
            raise self._breach(f"draws from {purpose!r} at step {step}, which was given out before")
        return stream

    # -- the kernel's side

    async def _answered(self, call: Call, request: Request, place: tuple[int, int]) -> ModelReplied:
        outcome = await self._episode.wiring.answer(call, request)
        self._episode.publish(outcome, self._node, place, 0)
        if isinstance(outcome, ModelFailed):
            what = f"the {call.role}'s call at step {call.step} failed: {outcome.error}"
            raise CallFailedError(what, kind=outcome.error)
        return outcome

    def _asked(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        # A failed call is its handler's to bear; all else means that the run cannot go on.
        if error is not None and not isinstance(error, CallFailedError):
            self._episode.wiring.stop(error)
        self._episode.let_go(task)

    def finished(self, task: asyncio.Task[Any]) -> None:
        """Take note that the handler returned or raised."""
        self._returned = True
        if not self._episode.wiring.stopping:
            # A handler that something of its own cancelled has failed like any other.
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is not None:
                self._failed(error)
        self._episode.let_go(task)

    def _failed(self, error: BaseException) -> None:
        # How much memory there is must not be seen in a trace.
        if isinstance(error, LawError | ServiceError | MemoryError):
            self._episode.wiring.stop(error)
        else:
            self._episode.handler_failed(self._node, self._handling, error)

    def _place(self) -> tuple[int, int]:
        # Taken on asking, not on the reply: replies come in the order of real time.
        self._sequence += 1
        return self._handling.order, self._sequence

    def _check(self, verb: str) -> None:
        if self._returned:
            raise self._breach(f"{verb} after it returned")
        if asyncio.current_task() is not self.task:
            raise self._breach(f"{verb} from another task than its own")

    def _check_depth(self) -> None:
        if self._node.depth >= self._episode.wiring.longest_chain:
            raise EndlessChainError(f"a chain of causes is longer than {self._node.depth}")

    def _breach(self, what: str) -> LawError:
        # The run stops even if the handler, or whoever it handed the delivery to, catches this.
        error = LawError(f"{self._handling.name} {what}")
        self._episode.wiring.stop(error)
        return error


Handler: TypeAlias = Callable[[Delivery[Any, T]], Coroutine[Any, Any, None]]


class EndlessChainError(BillpError):
    """Raised when messages lead to messages without end; fails the episode."""


def handling(order: int, handler: Handler[T], name: str = "") -> Handling:
    """Return *handler* with its place among all subscriptions."""
    return Handling(order, name or name_of(handler), handler)
