"""The pulse of a run underway: all that a dashboard shows of it, in one value."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from engine.listeners import Live
from engine.messages import EpisodeFailed, EpisodeSettled, UserResponded
from sim.runs.watching import Underway

_MINUTE = 60.0
_LATELY = 900.0  # seconds: long enough for a batch of episodes, short enough for a new limit
_SAMPLES = 60  # that a span is divided into
_CAPACITY = 1_000_000


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """What a run underway is like now; None is what nobody knows yet, or ever.

    Of *total* episodes so many *episodes* have ended, *failed* ones among them; others are
    *running*. *steps* were taken, *steps_per_second* in the last minute.

    Calls are *in_flight*, of as many as the *limit* allows now and the *ceiling* ever; others are
    *waiting* for a slot, or *pausing* until they are tried again. Of the *attempts* of this process
    so many were *refused* with 429, and so many *failed_attempts* (those among them) failed;
    *retries* followed.

    *tokens* are those of all calls so far, in both directions, *tokens_per_minute* those of the
    last minute, *token_limit* the most in a minute, told or learned of the service. *cost* is by
    the prices that are set, with what calls in flight are expected to cost; *budget* is the most
    that it may come to. *r_traj* and *len* are means over the episodes released so far.

    *seconds* have passed since this process runs, *seconds_left* are to come if it goes on as it
    did lately; what was recorded before this process does not count for that.
    """

    episodes: int
    total: int
    running: int
    failed: int
    steps: int
    steps_per_second: float | None
    in_flight: int
    limit: int
    ceiling: int
    waiting: int
    pausing: int
    attempts: int
    refused: int
    failed_attempts: int
    retries: int
    tokens: int
    tokens_per_minute: float | None
    token_limit: float | None
    cost: float | None
    budget: float | None
    r_traj: float | None
    len: float | None
    seconds: float
    seconds_left: float | None


@dataclass(eq=False)
class Lately:
    """How fast a count has grown in the last *span* seconds, of which it keeps a few samples."""

    span: float
    _samples: deque[tuple[float, float]] = field(default_factory=deque)

    def begin(self, now: float, count: float) -> None:
        """Forget what was before."""
        self._samples.clear()
        self._samples.append((now, count))

    def rate(self, now: float, count: float) -> float | None:
        """Return by how much it grew in a second; None if no time has passed."""
        samples = self._samples
        if now - samples[-1][0] >= self.span / _SAMPLES:
            samples.append((now, count))
        # The first sample is the last one that is as old as the span, or the beginning.
        while len(samples) > 1 and samples[1][0] <= now - self.span:
            samples.popleft()
        since, before = samples[0]
        return (count - before) / (now - since) if now > since else None


@dataclass(eq=False)
class Pulses:
    """Takes the pulse of a run *underway*; to be made when a view is attached, before it starts."""

    underway: Underway
    clock: Callable[[], float] = time.monotonic
    _steps: int = 0
    _taken: dict[int, int] = field(default_factory=dict)
    _recorded: bool = True
    _speed: Lately = field(default_factory=lambda: Lately(_MINUTE))
    _pace: Lately = field(default_factory=lambda: Lately(_LATELY))
    _tokens: Lately = field(default_factory=lambda: Lately(_MINUTE))

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._begin(self._began)
        heard = UserResponded | EpisodeSettled | EpisodeFailed
        self.underway.assembly.bus.listen(heard, self._hear, capacity=_CAPACITY)

    def take(self) -> Pulse:
        """Return what the run is like now."""
        underway, now = self.underway, self.clock()
        progress = underway.assembly.scheduler.progress()
        slots, retries = underway.chain.statistics(), underway.chain.retrying.statistics()
        so_far, tokens = underway.assembly.metrics.so_far(), underway.access.usage.tokens
        per_second = self._tokens.rate(now, tokens)
        return Pulse(
            episodes=progress.closed,
            total=underway.config.visits,
            running=progress.running,
            failed=progress.failed,
            steps=self._steps,
            steps_per_second=self._speed.rate(now, self._steps) if self._steps else None,
            in_flight=slots.in_flight,
            limit=slots.limit,
            ceiling=slots.ceiling,
            waiting=slots.waiting,
            pausing=retries.pausing,
            attempts=retries.attempts,
            refused=retries.failed.get("rate_limit", 0),
            failed_attempts=sum(retries.failed.values()),
            retries=retries.retries,
            tokens=tokens,
            tokens_per_minute=None if per_second is None else per_second * _MINUTE,
            token_limit=slots.tokens_per_minute,
            cost=self._cost(),
            budget=underway.chain.budget.allowances.cost or None,
            r_traj=so_far.r_traj if so_far.episodes else None,
            len=so_far.len if so_far.episodes else None,
            seconds=now - self._began,
            seconds_left=self._left(now, so_far.len if so_far.episodes else None),
        )

    def _cost(self) -> float | None:
        budget = self.underway.chain.budget
        return max(0.0, budget.spent.cost) if budget.allowances.prices else None

    def _left(self, now: float, mean: float | None) -> float | None:
        """Return the seconds left where episodes have *mean* steps."""
        progress = self.underway.assembly.scheduler.progress()
        pace = self._pace.rate(now, self._steps)
        if mean is None or not pace:
            return None
        begun = sum(max(1.0, mean - taken) for taken in self._taken.values())
        others = self.underway.config.visits - progress.closed - len(self._taken)
        return (begun + max(0, others) * mean) / pace

    def _hear(self, live: Live[UserResponded | EpisodeSettled | EpisodeFailed]) -> None:
        episode = live.episode
        if episode is None:
            return
        if isinstance(live.message, UserResponded):
            self._steps += 1
            self._taken[episode] = self._taken.get(episode, 0) + 1
            self._watch_record()
        else:
            self._taken.pop(episode, None)

    def _watch_record(self) -> None:
        """Begin anew while all calls are those of a record: they take no time, and others do."""
        usage = self.underway.access.usage
        if self._recorded and usage.calls > usage.live:
            self._begin(self.clock())
        self._recorded = self._recorded and not usage.live

    def _begin(self, now: float) -> None:
        self._speed.begin(now, self._steps)
        self._pace.begin(now, self._steps)
        self._tokens.begin(now, self.underway.access.usage.tokens)
