"""An episode while it runs: its tree of messages, its clock, and who still works on it."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from engine.attempt import log
from engine.calls import Answer, Embed
from engine.chance import Stream, chance
from engine.closed import Closed
from engine.errors import BillpError
from engine.listeners import Inbox, Live
from engine.messages import (
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    HandlerFailed,
    Message,
    RunEnded,
    RunStarted,
    check_numbers,
)
from engine.records import View
from engine.tree import LAST, Node, encode_nodes, walk

T = TypeVar("T")

OUTSIDE = frozenset({RunStarted, RunEnded, EpisodeFailed, HandlerFailed})
"""Messages about episodes rather than in them: for listeners and followers, not for handlers."""

Fold: TypeAlias = Callable[[Any, Message], Any]


@dataclass(frozen=True, slots=True)
class Handling:
    """A subscribed handler; *order* is its place among all subscriptions."""

    order: int
    name: str
    handler: Callable[[Any], Coroutine[Any, Any, None]]


class Numbered(Protocol):
    """An episode, wherever it runs, as far as its run must know."""

    number: int
    user: int
    session: int
    clock: int
    published: int
    running: dict[asyncio.Task[Any], str]

    def start(self) -> None:
        """Begin."""
        ...

    def close(self) -> Closed:
        """Return what it came to; then nothing of the episode is there any more."""
        ...


class Delivered(Protocol):
    """What a handler gets with a message, as far as the episode must know."""

    task: asyncio.Task[Any] | None

    def finished(self, task: asyncio.Task[Any]) -> None:
        """Take note that the handler returned or raised."""
        ...


@dataclass(eq=False)
class Wiring(Generic[T]):
    """What all episodes of a run share.

    *deliver* makes what handlers get; *seed_at* is the seed of the chance at a step for a purpose.
    """

    deliver: Callable[["Episode[T]", Node[T], Handling], Delivered]
    seed_at: Callable[[int, str], int]
    answer: Answer
    embed: Embed
    fold: Fold
    longest_chain: int
    stop: Callable[[BaseException], None]
    closed: Callable[[Numbered], None]
    clock_moved: Callable[[Numbered], None]
    handlings: dict[type, list[Handling]] = field(default_factory=dict)
    ears: dict[type, list[Inbox]] = field(default_factory=dict)
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
        self.wiring = wiring
        self._owners: dict[tuple[str, int], tuple[object, int]] = {}
        self._streams: set[tuple[int, str]] = set()
        self._ended: list[Node[T]] = []
        self._settled: Node[T] | None = None
        self._told: tuple[Message, ...] = ()
        self._started = started
        self.root: Node[T] = Node(started, started.arrival, None, (0, 0))

    @property
    def ended(self) -> EpisodeEnded | None:
        """How the visit ended; None while it has not, and if it failed."""
        message = None if self.failed or not self._ended else self._ended[0].message
        return message if isinstance(message, EpisodeEnded) else None

    # -- growing

    def start(self) -> None:
        """Publish `EpisodeStarted`."""
        check_numbers(self._started)
        self.root.trajectory = self.wiring.fold(None, self._started)
        self._spread(self.root)
        self._check_quiet()

    def publish(
        self, message: Message, cause: Node[T], place: tuple[int, int], after: int
    ) -> Node[T]:
        """Add *message* under *cause*, *after* milliseconds later, and start its handlers."""
        # Raised into the handler that publishes it: it fails, and the trace stays free of it.
        check_numbers(message)
        node = Node(message, cause.time + after, cause, place)
        node.trajectory = self.wiring.fold(cause.trajectory, message)
        cause.children.append(node)
        if isinstance(message, EpisodeEnded):
            self._ended.append(node)
        self._spread(node)
        if node.time > self.clock:
            self.clock = node.time
            self.wiring.clock_moved(self)
        return node

    def _spread(self, node: Node[T]) -> None:
        wiring = self.wiring
        wiring.messages += 1
        self.published += 1
        kind = type(node.message)
        # Not create_task: it costs twice as much, and a task factory might run handlers at once.
        loop = asyncio.get_running_loop()
        for ear in wiring.ears.get(kind, ()):
            ear.hear(Live(self.number, node.time, node.message))
        for handling in wiring.handlings.get(kind, ()):
            delivery = wiring.deliver(self, node, handling)
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

    def handler_failed(self, node: Node[T], handling: Handling, error: BaseException) -> None:
        """Put `HandlerFailed` in the place of what the handler would have published last."""
        self.failed = True
        log(
            "warning",
            "handler failed",
            None if isinstance(error, BillpError) else error,
            episode=self.number,
            handler=handling.name,
            error=str(error) or type(error).__name__,
        )
        message = HandlerFailed(handler=handling.name, error=type(error).__name__)
        self.publish(message, node, (handling.order, LAST), 0)

    # -- quiet, settled, closed

    def _check_quiet(self) -> None:
        if self.running or self.wiring.stopping:
            return
        why = self._why_failed()
        # Also once all was settled: a handler of EpisodeSettled may fail like any other.
        if why is not None:
            self.failed = True
            self._close_with(EpisodeFailed(why=why))
        elif self._settled is None:
            self._settle()
        else:
            self.wiring.closed(self)

    def _settle(self) -> None:
        # Held open by hand: the settled node must know its trajectory before its handlers start.
        node = Node[T](EpisodeSettled(), self.clock, self.root, (LAST, 0))
        node.trajectory = self._ended[0].trajectory
        self.root.children.append(node)
        self._settled = node
        self._spread(node)
        self._check_quiet()

    def _close_with(self, message: EpisodeFailed) -> None:
        # Behind EpisodeSettled, which has the place (LAST, 0), if it came to that.
        node = Node[T](message, self.clock, self.root, (LAST, 1))
        node.trajectory = self.root.trajectory
        self.root.children.append(node)
        self._spread(node)
        self.wiring.closed(self)

    def _why_failed(self) -> str | None:
        if self.failed:
            # The first in canonical order: which came first in real time must not be seen.
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
        # Two who ask as one role at one step would count their calls in the order of real time.
        if known is not owner:
            return None
        self._owners[role, step] = (owner, count + 1)
        return count

    def stream(self, step: int, purpose: str) -> Stream | None:
        """Return the stream for *purpose* at *step*; None if it was given out already."""
        # Two who draw from one stream would share it out in the order of real time.
        if (step, purpose) in self._streams:
            return None
        self._streams.add((step, purpose))
        return chance(self.wiring.seed_at(step, purpose), self.user, self.session, step, purpose)

    def messages(self) -> tuple[Message, ...]:
        """Return what led to `EpisodeSettled`, which comes last, in canonical order.

        What is published under it belongs to handlers that run at once: real time would decide.
        """
        if not self._told:
            above = takewhile(lambda place: place[0] is not self._settled, walk(self.root))
            self._told = (*[node.message for node, _ in above], EpisodeSettled())
        return self._told

    def close(self) -> Closed:
        """Return what it came to; then nothing of the episode is there any more."""
        ended = self.ended
        nodes = [*walk(self.root)]
        lines = encode_nodes(self.number, nodes)
        records = [entry for node, _ in nodes if node.records for entry in node.records]
        # Parts causes from what they led to, and the episode from who asked in it: circles would
        # wait for a late collection.
        for node, _ in nodes:
            node.children.clear()
        self._owners.clear()
        return Closed(lines, self.clock, self.failed, ended, [] if self.failed else records)
