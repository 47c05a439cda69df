"""An episode while it runs, and the deliveries its handlers get.

The laws that keep real time out of a trace are held here: a handler publishes and asks from its own
task and before it returns; a call has one identity and one owner; a stream of chance has one user.
Causality is visibility: a handler sees the chain of causes above its message, and nothing of what
happens beside it. A breach stops the run with a `LawError` that names the handler.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, get_args

import msgspec
import structlog

from engine.attempt import name_of
from engine.chance import Stream, chance
from engine.errors import BillpError, CallFailedError, LawError, ServiceError
from engine.listeners import Ear, Live
from engine.messages import (
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    HandlerFailed,
    MemoryWritten,
    Message,
    ModelFailed,
    ModelReplied,
    RunEnded,
    RunStarted,
    check_numbers,
)
from engine.records import MemoryName, P, Record, Vector, View
from engine.tree import LAST, Node, encode_tree, walk

M = TypeVar("M", bound=msgspec.Struct)
M_co = TypeVar("M_co", bound=msgspec.Struct, covariant=True)
T = TypeVar("T")

OUTSIDE = frozenset({RunStarted, RunEnded, EpisodeFailed, HandlerFailed})
"""Messages about episodes rather than in them: for listeners and followers, not for handlers."""

_KERNELS = OUTSIDE | {EpisodeStarted, EpisodeSettled, MemoryWritten, ModelReplied, ModelFailed}
_HANDLERS = frozenset(get_args(Message)) - _KERNELS


class Request(Protocol):
    """What a handler asks; only its place matters to the kernel."""

    @property
    def role(self) -> str:
        """Who asks."""
        ...

    @property
    def step(self) -> int:
        """At which step."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """The identity of a model call; identical prompts in two places are two calls."""

    episode: int
    user: int
    session: int
    step: int
    role: str
    occurrence: int


Answer: TypeAlias = Callable[[Call, Any], Awaitable[ModelReplied | ModelFailed]]
Embed: TypeAlias = Callable[[Sequence[str]], Awaitable[Vector]]
Fold: TypeAlias = Callable[[Any, Message], Any]


@dataclass(frozen=True, slots=True)
class Handling(Generic[T]):
    """A subscribed handler; *order* is its place among all subscriptions."""

    order: int
    name: str
    handler: "Handler[T]"


@dataclass(eq=False)
class Wiring(Generic[T]):
    """What all episodes of a run share; *seed_at* is the seed of a step's chance."""

    seed_at: Callable[[int], int]
    answer: Answer
    embed: Embed
    fold: Fold
    longest_chain: int
    stop: Callable[[BaseException], None]
    closed: Callable[["Episode[T]"], None]
    clock_moved: Callable[["Episode[T]"], None]
    handlings: dict[type, list[Handling[T]]] = field(default_factory=dict)
    ears: dict[type, list[Ear]] = field(default_factory=dict)
    messages: int = 0
    stopping: bool = False


class Episode(Generic[T]):
    """One user's visit: its tree of messages, its clock, and how many handlers still run."""

    def __init__(
        self,
        wiring: Wiring[T],
        number: int,
        started: EpisodeStarted,
        views: Mapping[str, View[Any]],
    ) -> None:
        self.number = number
        self.user = started.user
        self.session = started.session
        self.teaching = started.teaching
        self.clock = started.arrival
        self.views = views
        self.failed = False
        self.published = 0
        self.running: dict[asyncio.Task[Any], str] = {}
        self._wiring = wiring
        self._owners: dict[tuple[str, int], tuple[object, int]] = {}
        self._streams: set[tuple[int, str]] = set()
        self._ended: list[Node[T]] = []
        self._settled: Node[T] | None = None
        self._started = started
        self.root: Node[T] = Node(started, started.arrival, None, (0, 0))

    # -- growing

    def start(self) -> None:
        """Publish `EpisodeStarted`."""
        check_numbers(self._started)
        self.root.trajectory = self._wiring.fold(None, self._started)
        self._spread(self.root)
        self._check_quiet()

    def publish(
        self, message: Message, cause: Node[T], place: tuple[int, int], after: int
    ) -> Node[T]:
        """Add *message* under *cause*, *after* milliseconds later, and start its handlers."""
        check_numbers(message)
        node = Node(message, cause.time + after, cause, place)
        node.trajectory = self._wiring.fold(cause.trajectory, message)
        cause.children.append(node)
        if isinstance(message, EpisodeEnded):
            self._ended.append(node)
        self._spread(node)
        if node.time > self.clock:
            self.clock = node.time
            self._wiring.clock_moved(self)
        return node

    def _spread(self, node: Node[T]) -> None:
        wiring = self._wiring
        wiring.messages += 1
        self.published += 1
        kind = type(node.message)
        # Not create_task: it costs twice as much, and a task factory might run handlers at once.
        loop = asyncio.get_running_loop()
        for ear in wiring.ears.get(kind, ()):
            ear.hear(Live(self.number, node.time, node.message))
        for handling in wiring.handlings.get(kind, ()):
            delivery: Delivery[Any, T] = Delivery(self, node, handling)
            task = asyncio.Task(handling.handler(delivery), loop=loop)
            delivery.task = task
            self.keep(task, handling.name, delivery.finished)

    def keep(
        self, task: asyncio.Task[Any], name: str, finished: Callable[[asyncio.Task[Any]], None]
    ) -> None:
        """Hold the episode open until *task* is done, then call *finished*."""
        self.running[task] = name
        task.add_done_callback(finished)

    def let_go(self, task: asyncio.Task[Any]) -> None:
        """Forget a finished task; settle or close the episode if it was the last."""
        del self.running[task]
        self._check_quiet()

    def handler_failed(self, node: Node[T], handling: Handling[T], error: BaseException) -> None:
        """Put `HandlerFailed` in the place of what the handler would have published last."""
        self.failed = True
        structlog.get_logger().warning(
            "handler failed",
            episode=self.number,
            handler=handling.name,
            error=str(error) or type(error).__name__,
            exc_info=None if isinstance(error, BillpError) else error,
        )
        message = HandlerFailed(handler=handling.name, error=type(error).__name__)
        self.publish(message, node, (handling.order, LAST), 0)

    # -- quiet, settled, closed

    def _check_quiet(self) -> None:
        if self.running or self._wiring.stopping:
            return
        why = self._why_failed()
        if why is not None:
            self.failed = True
            self._close_with(EpisodeFailed(why=why))
        elif self._settled is None:
            self._settle()
        else:
            self._wiring.closed(self)

    def _settle(self) -> None:
        # Held open by hand: the settled node must know its trajectory before its handlers start.
        node = Node[T](EpisodeSettled(), self.clock, self.root, (LAST, 0))
        node.trajectory = self._ended[0].trajectory
        self.root.children.append(node)
        self._settled = node
        self._spread(node)
        self._check_quiet()

    def _close_with(self, message: EpisodeFailed) -> None:
        node = Node[T](message, self.clock, self.root, (LAST, 1))
        node.trajectory = self.root.trajectory
        self.root.children.append(node)
        self._spread(node)
        self._wiring.closed(self)

    def _why_failed(self) -> str | None:
        if self.failed:
            failures = (node.message for node, _ in walk(self.root))
            first = next(m for m in failures if isinstance(m, HandlerFailed))
            return f"{first.handler} raised {first.error}"
        if len(self._ended) != 1:
            return "nobody answered" if not self._ended else "ended more than once"
        return None

    # -- what deliveries do

    def occurrence(self, role: str, step: int, owner: object) -> int | None:
        """Return how often *owner* asked as *role* at *step* before; None if somebody else did."""
        known, count = self._owners.get((role, step), (owner, 0))
        if known is not owner:
            return None
        self._owners[role, step] = (owner, count + 1)
        return count

    def stream(self, step: int, purpose: str) -> Stream | None:
        """Return the stream for *purpose* at *step*; None if it was given out already."""
        if (step, purpose) in self._streams:
            return None
        self._streams.add((step, purpose))
        return chance(self._wiring.seed_at(step), self.user, self.session, step, purpose)

    def messages(self) -> tuple[Message, ...]:
        """Return what led to `EpisodeSettled`, which comes last, in canonical order.

        What is published under it belongs to handlers that run at once: real time would decide.
        """
        above = takewhile(lambda place: place[0] is not self._settled, walk(self.root))
        return (*(node.message for node, _ in above), EpisodeSettled())

    def records(self) -> list[tuple[str, Record[Any]]]:
        """Return what the episode left for the memories, in canonical order."""
        if self.failed:
            return []
        return [entry for node, _ in walk(self.root) for entry in node.records]

    def encoded(self) -> bytes:
        """Return the episode's lines of the trace."""
        return encode_tree(self.number, self.root)

    def dissolve(self) -> None:
        """Part causes from what they led to: circles would wait for a late collection."""
        for node in [node for node, _ in walk(self.root)]:
            node.children.clear()

    @property
    def wiring(self) -> Wiring[T]:
        """What the episode shares with the others."""
        return self._wiring


class Delivery(Generic[M_co, T]):
    """A message for one handler, with what the handler may do about it."""

    __slots__ = ("_episode", "_handling", "_node", "_returned", "_sequence", "message", "task")

    def __init__(self, episode: Episode[T], node: Node[T], handling: Handling[T]) -> None:
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
        if error is not None and not isinstance(error, CallFailedError):
            self._episode.wiring.stop(error)
        self._episode.let_go(task)

    def finished(self, task: asyncio.Task[Any]) -> None:
        """Take note that the handler returned or raised."""
        self._returned = True
        wiring = self._episode.wiring
        if not wiring.stopping:
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if isinstance(error, LawError | ServiceError):
                wiring.stop(error)
            elif error is not None:
                self._episode.handler_failed(self._node, self._handling, error)
        self._episode.let_go(task)

    def _place(self) -> tuple[int, int]:
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


def handling(order: int, handler: Handler[T], name: str = "") -> Handling[T]:
    """Return *handler* with its place among all subscriptions."""
    return Handling(order, name or name_of(handler), handler)
