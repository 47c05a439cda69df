"""Trying again what may pass: which errors, how often, after how long.

It stands outside the limiter, so a call that waits to be tried again holds no slot. None of it can
be seen in a trace: jitter has streams of its own, and every attempt is told to an observer only.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import msgspec

from agents.models.model import ChatModel, ChatReply, ChatRequest, TransientError
from engine.calls import Call
from engine.chance import Stream, chance
from engine.errors import CallFailedError, ConfigError


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
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
    """How retries are doing: calls *pausing* now, *attempts* so far, *failed* ones by kind."""

    pausing: int
    attempts: int
    given_up: int
    failed: Mapping[str, int]


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
        self._kinds: Counter[str] = Counter()

    def statistics(self) -> RetryStatistics:
        """Return how things are now."""
        return RetryStatistics(
            pausing=self._pausing,
            attempts=self._attempts,
            given_up=self._given_up,
            failed=dict(self._kinds),
        )

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the first reply; raises CallFailedError when patience is at its end."""
        effort = _Effort(request)
        while True:
            effort.number += 1
            self._attempts += 1
            start = self._clock()
            try:
                reply = await self._model.reply(request)
            except TransientError as error:
                pause = self._after(error, self._clock() - start - error.wait, effort)
            else:
                latency = self._clock() - start - reply.wait
                self._tell(effort, wait=reply.wait, latency=latency)
                return effort.told(reply)
            await self._pause(pause)

    def _after(self, error: TransientError, latency: float, effort: "_Effort") -> float:
        """Return the seconds to pause after an attempt that failed; raises CallFailedError."""
        self._kinds[error.kind] += 1
        pause = self._patience.pause(effort.number, error.retry_after, effort.jitter)
        effort.spent += latency + pause
        effort.waited += error.wait + pause
        last = effort.number >= self._patience.attempts or effort.spent > self._patience.total
        self._tell(effort, error, wait=error.wait, latency=latency, pause=0.0 if last else pause)
        if last:
            self._given_up += 1
            attempts = "1 attempt" if effort.number == 1 else f"{effort.number} attempts"
            what = f"no reply after {attempts}: {error}"
            raise CallFailedError(what, kind=error.kind, said=error.said) from error
        return pause

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
    """All attempts at one call: seconds *spent* on it, and *waited* for slots and in pauses."""

    request: ChatRequest
    number: int = 0
    spent: float = 0.0
    waited: float = 0.0
    _jitter: Stream | None = None

    @property
    def jitter(self) -> Stream:
        if self._jitter is None:
            call = self.request.call
            purpose = f"retry/{call.role}/{call.occurrence}"
            seed = self.request.seed
            self._jitter = chance(seed, call.user, call.session, call.step, purpose)
        return self._jitter

    def told(self, reply: ChatReply) -> ChatReply:
        """Return *reply* with what it took."""
        if self.number == 1:
            return reply
        wait = reply.wait + self.waited
        return msgspec.structs.replace(reply, attempts=self.number, wait=wait)
