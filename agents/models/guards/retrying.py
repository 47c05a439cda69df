"""Trying again what may pass: which errors, how often, after how long.

It stands outside the limiter, so a call that waits to be tried again holds no slot. None of it can
be seen in a trace: jitter has streams of its own, and every attempt is told to an observer only.

When patience is at its end the call has failed, and its episode with it. But a service that said
"later" to the very end, or that nobody can reach any more, would fail one episode after the other:
then the run stops, and can go on when the service does.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import ceil

import msgspec

from agents.models.model import CAPACITY, ChatModel, ChatReply, ChatRequest, TransientError
from engine.calls import Call
from engine.chance import Stream, chance
from engine.errors import CallFailedError, ConfigError, ModelError, ServiceError

_LATER = {"rate_limit", CAPACITY}
_UNITS = (("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0), ("second", 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """At most so many *attempts* at a call, and so many seconds in *total*, waits for slots aside.

    Without word from the service the pause is *first* seconds, doubled every time up to *longest*,
    less up to half of it by chance.
    """

    attempts: int = 12
    first: float = 0.5
    longest: float = 30.0
    total: float = 900.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigError(f"a call needs at least 1 attempt, got {self.attempts!r}")
        if not 0 <= self.first <= self.longest or not self.total > 0:
            raise ConfigError(
                f"expected pauses of 0 ≤ first ≤ longest, and a total above 0: {self}"
            )

    def pause(self, number: int, retry_after: float | None, stream: Stream) -> float:
        """Return the seconds to wait after attempt *number*; never less than was asked for."""
        if retry_after is not None:
            # A little later than told: all who wait were told the same.
            return retry_after * (1 + stream.fraction() / 10)
        longest = min(self.longest, self.first * 2.0 ** (number - 1))
        return longest * (1 - stream.fraction() / 2)


class Attempt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One attempt at a call, in seconds: the *wait* for a slot, then the *latency*, then a *pause*.

    *kind* is why it failed, or None if it got a reply, *said* what the service said of that; after
    the last attempt there is no pause.
    """

    call: Call
    number: int
    kind: str | None
    wait: float
    latency: float
    pause: float = 0.0
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryStatistics:
    """How retries are doing: calls *pausing* now, *attempts* so far, *failed* ones by kind.

    Of *given_up* calls the last attempt failed, too, and was followed by no other. Seconds are sums
    over calls, of attempts that have ended: the *wait* for slots and paces, and the *pause* before
    the next.
    """

    pausing: int
    attempts: int
    given_up: int
    failed: Mapping[str, int]
    wait: float
    pause: float

    @property
    def retries(self) -> int:
        """How many attempts that failed were, or will be, followed by another."""
        return sum(self.failed.values()) - self.given_up


class Retrying:
    """A model that tries again. *observe* is told every attempt, as it ends."""

    def __init__(
        self,
        model: ChatModel,
        patience: Patience,
        *,
        observe: Callable[[Attempt], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._model = model
        self._patience = patience
        self._observe = observe
        self._clock = clock
        self._sleep = sleep
        self._pausing = self._attempts = self._given_up = 0
        self._replied = float("-inf")
        self._kinds: Counter[str] = Counter()
        self._waited = self._paused = 0.0

    def statistics(self) -> RetryStatistics:
        """Return how things are now."""
        return RetryStatistics(
            pausing=self._pausing,
            attempts=self._attempts,
            given_up=self._given_up,
            failed=dict(self._kinds),
            wait=self._waited,
            pause=self._paused,
        )

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the first reply; raises CallFailedError or ServiceError at the end of patience."""
        effort = _Effort(request)
        while True:
            effort.number += 1
            self._attempts += 1
            start = self._clock()
            try:
                reply = await self._model.reply(request)
            except CallFailedError as error:  # another attempt would fail as well
                self._kinds[error.kind] += 1
                self._given_up += 1
                raise
            except TransientError as error:
                pause = self._after(error, self._clock() - start - error.wait, effort)
            else:
                self._replied = self._clock()
                latency = self._replied - start - reply.wait
                self._tell(effort, wait=reply.wait, latency=latency)
                return effort.told(reply)
            await self._pause(pause)

    def _after(self, error: TransientError, latency: float, effort: "_Effort") -> float:
        """Return the seconds to pause after an attempt that failed; raises what `reply` does."""
        self._kinds[error.kind] += 1
        pause = self._patience.pause(effort.number, error.retry_after, effort.jitter)
        effort.spent += latency + pause
        effort.waited += error.wait + pause
        effort.refused += error.kind in _LATER
        # Since its first failure: a reply to any other call after that says that somebody is there.
        effort.failing = min(effort.failing, self._clock())
        last = effort.number >= self._patience.attempts or effort.spent > self._patience.total
        self._tell(effort, error, wait=error.wait, latency=latency, pause=0.0 if last else pause)
        if last:
            self._given_up += 1
            raise self._end(error, effort) from error
        return pause

    def _end(self, error: TransientError, effort: "_Effort") -> ModelError:
        """Return what it means that patience is at its end."""
        attempts = "1 attempt" if effort.number == 1 else f"{effort.number} attempts"
        if error.retry_after is not None and effort.spent > self._patience.total:
            what = f"the service asks to wait for {_words(error.retry_after)}: {error}"
            return ServiceError(what, hint="wait that long")
        if effort.refused == effort.number:
            what = f"the service said 'later' to {attempts} at a call: {error}"
            less = "set the tier of the role to default"
            less = less if error.kind == CAPACITY else "ask for less at once (concurrency)"
            return ServiceError(what, hint=f"wait a while, or {less}")
        # Nobody is there, and no call at all got through since this one failed first.
        if error.gone and self._replied <= effort.failing:
            return ServiceError(str(error), hint="see that the service is running")
        what = f"no reply after {attempts}: {error}"
        return CallFailedError(what, kind=error.kind, said=error.said)

    async def _pause(self, seconds: float) -> None:
        self._pausing += 1
        try:
            await self._sleep(seconds)
        finally:
            self._pausing -= 1

    def _tell(
        self,
        effort: "_Effort",
        error: TransientError | None = None,
        *,
        wait: float,
        latency: float,
        pause: float = 0.0,
    ) -> None:
        self._waited += wait
        self._paused += pause
        if self._observe is not None:
            self._observe(
                Attempt(
                    call=effort.request.call,
                    number=effort.number,
                    kind=error.kind if error else None,
                    wait=wait,
                    latency=latency,
                    pause=pause,
                    said=error.said if error else "",
                )
            )


@dataclass(slots=True, eq=False)
class _Effort:
    """All attempts at one call: how many were *refused* by a limit, and since when it is *failing*.

    Seconds *spent* on it, and *waited* for slots and in pauses.
    """

    request: ChatRequest
    number: int = 0
    refused: int = 0
    failing: float = float("inf")
    spent: float = 0.0
    waited: float = 0.0
    _jitter: Stream | None = None

    @property
    def jitter(self) -> Stream:
        if self._jitter is None:
            call = self.request.call
            purpose = f"retry/{call.role}/{call.occurrence}"
            # Each call has another: those refused together must not come back together.
            seed = self.request.seed
            self._jitter = chance(seed, call.user, call.session, call.step, purpose)
        return self._jitter

    def told(self, reply: ChatReply) -> ChatReply:
        """Return *reply* with what it took."""
        if self.number == 1:
            return reply
        wait = reply.wait + self.waited
        return msgspec.structs.replace(reply, attempts=self.number, wait=wait)


def _words(seconds: float) -> str:
    """Return how long that is, in the largest unit of which it is at least two, rounded up."""
    unit, size = next((u for u in _UNITS if seconds > u[1]), _UNITS[-1])
    count = ceil(seconds / size)
    return f"{count:,} {unit}" + ("" if count == 1 else "s")
