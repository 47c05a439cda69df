"""When an episode may start, and when it is closed.

A discrete-event simulation with conservative synchronisation (Chandy, Misra and Bryant). Every user
has an own virtual clock. The next visit may start as soon as no unclosed episode can still write a
record that the visit should see: each has clock + delay ≥ arrival; the publication delay is the
*lookahead*. So what an episode sees is a prefix of each memory's log, known when it starts, and a
function of virtual time alone. Limits on resources change nothing in a trace.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, Generic, TypeVar

import anyio

from engine.arrivals import ONCE, Arrivals, Returns, Visit
from engine.attempt import log
from engine.away import Away
from engine.bus import Bus
from engine.calls import Answer, Embed
from engine.chance import chance
from engine.closed import Closed, Keep, Known, keep_nothing, nothing_known
from engine.delivery import Delivery
from engine.episode import Episode, Fold, Numbered, Wiring
from engine.errors import LawError
from engine.messages import EpisodeStarted, MemoryLength, RunEnded, RunStarted
from engine.records import Log, Record

T = TypeVar("T")

_PASSED = 16  # known episodes that wait to be released: those who listen must keep up

_CANCELLED = "a task beside the run was cancelled, but not by the run"


@dataclass(frozen=True)
class Bounds:
    """Limits on resources: *running* episodes, and closed ones that wait to be *released*.

    *patience* is the real time in seconds after which an episode without progress is reported.
    """

    running: int = 64
    unreleased: int = 1_000
    longest_chain: int = 10_000
    patience: float = 300.0


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    started: int
    running: int
    unreleased: int
    closed: int
    failed: int


@dataclass(eq=False)
class Scheduler(Generic[T]):
    """Runs the episodes of a run on a bus.

    *answer* replies to model calls, *embed* gives vectors, *fold* grows trajectories, *opening*
    makes the `EpisodeStarted` of a visit. *first* is the number of the first episode. *seal* is
    called on stopping, before any task is cancelled: clients that turn a cancellation into an error
    must not be able to journal it. *seeds* gives the seed of the chance for a purpose at a step,
    where that is not *seed*. What came of episodes that are *known* is not made again; *keep* takes
    what came of the others. Episodes that somebody is there to *send* run elsewhere.
    """

    bus: Bus[T]
    arrivals: Arrivals
    memories: Mapping[str, Log]
    answer: Answer
    embed: Embed
    fold: Fold
    opening: Callable[[Visit, tuple[MemoryLength, ...]], EpisodeStarted]
    seed: int = 0
    delay: int = 0
    first: int = 0
    returns: Returns = ONCE
    bounds: Bounds = field(default_factory=Bounds)
    seal: Callable[[], None] = lambda: None
    seeds: Callable[[int, str], int] | None = None
    known: Known = nothing_known
    keep: Keep = keep_nothing
    send: Callable[[Away[T]], None] | None = None

    def __post_init__(self) -> None:
        self._wiring: Wiring[T] = Wiring(
            deliver=Delivery,
            seed_at=self.seeds or (lambda _, __: self.seed),
            answer=self.answer,
            embed=self.embed,
            fold=self.fold,
            longest_chain=self.bounds.longest_chain,
            stop=self.stop,
            closed=self._episode_closed,
            clock_moved=self._clock_moved,
            handlings=self.bus.handlings,
            ears=self.bus.ears,
        )
        self._unclosed: dict[int, Numbered] = {}
        self._just_closed: deque[Numbered] = deque()
        self._laggards: set[int] = set()
        self._awaited: int | None = None
        self._returning: list[Visit] = []
        self._records: list[tuple[int, int, int, str, Record[Any]]] = []
        self._wake = anyio.Event()
        self._error: BaseException | None = None
        self._started = self._failed = self._latest = 0
        self._passing = False
        self.bus.release.released = self.first

    def progress(self) -> Progress:
        """Return where the run stands."""
        running = len(self._unclosed)
        closed = self._started - running
        return Progress(self._started, running, self.bus.release.waiting, closed, self._failed)

    def waited_for(self) -> list[int]:
        """Return the episodes that the next visit waits for, whether or not there is room for it.

        Changes nothing: a visit that is looked at comes as it would have come.
        """
        visit = self._earliest()
        if visit is not None:
            return sorted(self._laggards) if self._must_wait(visit) else []
        return [] if self.arrivals.exhausted() else sorted(self._unclosed)

    def stop(self, error: BaseException) -> None:
        """Stop the run with *error*; the first one counts."""
        if self._error is None:
            self._error = error
        # From here on no episode closes: what fails now fails because the run is being stopped.
        self._wiring.stopping = True
        self._wake.set()

    async def run(self, started: RunStarted) -> RunEnded:
        """Run all episodes and return the end of the trace; raise what stopped the run."""
        await self.bus.open(started)
        # What nobody awaits may raise, too: the run must not go on as if nothing had happened.
        with _told(self._unforeseen):
            await self._run_beside()
        # No visit comes any more that could see them, but saved memories are to hold them.
        self._move_records(None)
        ended = RunEnded(episodes=self._started, failed=self._failed)
        self.bus.messages += self._wiring.messages
        await self.bus.close(ended, self._latest)
        return ended

    async def _run_beside(self) -> None:
        """Run all episodes beside what releases them, listens to them and watches over them."""
        whole = False
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._beside, partial(self.bus.release.run, self._wake_up))
            beside.start_soon(self._beside, self._watch)
            for ear in self.bus.listeners():
                beside.start_soon(self._beside, ear.run)
            try:
                await self._run_episodes()
                whole = True
            finally:
                await self._stop_tasks()
                beside.cancel_scope.cancel()
        if not whole:  # a task group takes a CancelledError of its tasks for its own
            raise LawError(_CANCELLED)

    async def _beside(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run beside the episodes; if somebody else ends it, stop: they would wait for ever."""
        try:
            await run()
        except asyncio.CancelledError:
            # In a scope that was cancelled the deadline is −inf: then the run itself ended this.
            if anyio.current_effective_deadline() > -inf and not self._wiring.stopping:
                self.stop(LawError(_CANCELLED))
            raise

    async def _run_episodes(self) -> None:
        while True:
            # A new one before anything is looked at: nothing that happens meanwhile is missed.
            self._wake = anyio.Event()
            if self._error is not None:
                raise self._error
            self._close_episodes()
            while self._error is None and (visit := self._next_visit()) is not None:
                self._start(visit)
            if self._error is not None:
                raise self._error
            if self._finished():
                return
            await self._wake.wait()

    def _finished(self) -> bool:
        if self._unclosed or self._just_closed or self.bus.release.waiting:
            return False
        if not self.arrivals.exhausted() or self._returning:
            raise LawError("the arrivals neither give a visit nor say that there is none")
        return True

    async def _stop_tasks(self) -> None:
        self._wiring.stopping = True
        self.seal()
        tasks = [task for episode in self._unclosed.values() for task in episode.running]
        for task in tasks:
            task.cancel()
        if tasks:
            # The run may itself be cancelled by now; who clings to life is waited for no longer.
            with anyio.CancelScope(shield=True):
                await asyncio.wait(tasks, timeout=1.0)

    # -- starting

    def _next_visit(self) -> Visit | None:
        """Return the visit that may start now, if there is one."""
        bounds = self.bounds
        # With one bound for both, what waits for a slow follower would take slots of what can run.
        unreleased = _PASSED if self._passing else bounds.unreleased
        if len(self._unclosed) >= bounds.running or self.bus.release.waiting >= unreleased:
            return None
        visit = self._earliest()
        if visit is None or self._must_wait(visit):
            return None
        return visit

    def _earliest(self) -> Visit | None:
        first = self.arrivals.upcoming()
        if self._returning and (first is None or self._returning[0] < first):
            return self._returning[0]
        return first

    def _must_wait(self, visit: Visit) -> bool:
        # Found once for an arrival: then clocks that move take the laggards off one by one.
        if self._awaited != visit.arrival:
            self._awaited = visit.arrival
            self._laggards = {n for n, e in self._unclosed.items() if self._lags(e, visit.arrival)}
        return bool(self._laggards)

    def _lags(self, episode: Numbered, arrival: int) -> bool:
        """Tell whether *episode* can still do what a visit at *arrival* should know."""
        # It ends at its clock at the earliest, and what it leaves is seen after end + delay.
        if episode.clock + self.delay < arrival:
            return True
        # Where a user is drawn again, sessions are numbered on, from a multiple of their count.
        again = episode.session % self.returns.sessions + 1 < self.returns.sessions
        # ≤, since who returns in that millisecond may have the lower number, and would go first.
        return again and episode.clock + self.returns.least <= arrival

    def _start(self, visit: Visit) -> None:
        if self._returning and visit is self._returning[0]:
            heapq.heappop(self._returning)
        else:
            self.arrivals.started()
        # Logs grow as visits start: so what an episode sees is settled by its arrival alone.
        self._move_records(visit.arrival)
        lengths = tuple(
            MemoryLength(memory=name, length=len(log)) for name, log in self.memories.items()
        )
        number, started = self.first + self._started, self.opening(visit, lengths)
        self._started += 1
        closed = self.known(number, started)
        self._passing = closed is not None
        if closed is None:
            self._run(visit, number, started)
        else:
            self._pass(visit, number, closed)

    def _pass(self, visit: Visit, number: int, closed: Closed) -> None:
        """Go past an episode of which it is known what came of it."""
        self._wiring.messages += closed.lines.count(b"\n")
        closed.tell(self.bus.ears)
        self._end(visit.user, visit.session, number, closed)

    def _run(self, visit: Visit, number: int, started: EpisodeStarted) -> None:
        episode = self._unclosed[number] = self._made(number, started)
        # Its own user could be back in the same millisecond, where gaps may be 0.
        if self._lags(episode, visit.arrival):
            self._laggards.add(episode.number)
        episode.start()

    def _made(self, number: int, started: EpisodeStarted) -> Numbered:
        if self.send is not None:
            return Away(self._wiring, number, started, self.send)
        views = {name: log.view(len(log)) for name, log in self.memories.items()}
        return Episode(self._wiring, number, started, views)

    def _move_records(self, arrival: int | None) -> None:
        """Append to the logs what is visible before *arrival*; in the end, all."""
        while self._records and (arrival is None or self._records[0][0] < arrival):
            *_, memory, record = heapq.heappop(self._records)
            self.memories[memory].append(record)

    # -- going on

    def _clock_moved(self, episode: Numbered) -> None:
        if episode.number not in self._laggards or self._awaited is None:
            return
        if not self._lags(episode, self._awaited):
            self._laggards.discard(episode.number)
            if not self._laggards:
                self._wake.set()

    def _episode_closed(self, episode: Numbered) -> None:
        self._just_closed.append(episode)
        self._wake.set()

    def _close_episodes(self) -> None:
        while self._just_closed:
            self._close(self._just_closed.popleft())

    def _close(self, episode: Numbered) -> None:
        # As bytes from here on: many may have to wait for a slow one before them.
        closed = episode.close()
        del self._unclosed[episode.number]
        self._laggards.discard(episode.number)
        self.keep(episode.number, closed)
        self._end(episode.user, episode.session, episode.number, closed)

    def _end(self, user: int, session: int, number: int, closed: Closed) -> None:
        """Let come of an episode what is to come of it."""
        end = closed.clock
        self._latest = max(self._latest, end)
        self._failed += closed.failed
        for index, (memory, record) in enumerate(closed.records):
            # No two agree in the first three: memories and records are never compared.
            heapq.heappush(self._records, (end + self.delay, number, index, memory, record))
        self._expect_return(user, session, closed)
        self.arrivals.closed(end)
        self.bus.release.add(number, closed.lines)

    def _expect_return(self, user: int, session: int, closed: Closed) -> None:
        if session % self.returns.sessions + 1 < self.returns.sessions:
            stream = chance(self.seed, user, session + 1, 0, "return")
            gap = self.returns.gap(stream, closed.ended)
            if gap is not None:
                heapq.heappush(self._returning, Visit(closed.clock + gap, user, session + 1))

    def _wake_up(self) -> None:
        self._wake.set()

    # -- keeping watch

    async def _watch(self) -> None:
        seen: dict[int, int] = {}
        while True:
            await anyio.sleep(self.bounds.patience)
            for number, episode in self._unclosed.items():
                if seen.get(number) == episode.published:
                    self._report_stall(episode)
            seen = {number: episode.published for number, episode in self._unclosed.items()}

    def _report_stall(self, episode: Numbered) -> None:
        log(
            "warning",
            "episode without progress",
            episode=episode.number,
            user=episode.user,
            waiting=sorted(set(episode.running.values())),
            seconds=self.bounds.patience,
        )

    def _unforeseen(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or LawError(str(context.get("message")))
        if not self._wiring.stopping:
            self.stop(error)


@contextmanager
def _told(handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]) -> Iterator[None]:
    """Let *handler* hear of errors that nobody awaits; then whoever heard of them before."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(handler)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
