"""Limits in real time: calls in flight, calls and tokens a minute. One limiter per account.

What waits stands in one line, ordered by the request's priority: the main line first, then the
oldest episode. Nothing polls: who waits is woken when a slot is given back, or by one timer when it
is the pace that holds the line back. None of it can be seen in a trace.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TypeAlias

import msgspec

from agents.models.guards.adaptive import Adaptive, Cooldown
from agents.models.guards.pacing import Pacing, PendingCall
from agents.models.model import ChatModel, ChatReply, ChatRequest, Rates, TransientError
from engine.errors import ConfigError

_TICK = 1e-4  # a timer may be early by a rounding error


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an account allows: *in_flight* calls at once at most, fewer if *adaptive* finds so.

    Without calls or tokens a minute, those that the service states with its replies hold.
    """

    in_flight: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    adaptive: bool = True

    def __post_init__(self) -> None:
        for name in ("in_flight", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name.replace('_', ' ')} must be above 0, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterStatistics:
    """How a limiter is doing.

    *busy_seconds* is the sum over all slots of the time they were in use: divided by in-flight
    ceiling and wall time it is the utilisation. *calls* have ended, one way or another; *refused*
    of them with 429, *failed* with something else that may pass. *limit* is what the ceiling is
    lowered to. The paces are None where nothing limits.
    """

    in_flight: int
    waiting: int
    limit: int
    ceiling: int
    calls: int
    refused: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    busy_seconds: float
    wait_seconds: float
    cooldown_seconds: float
    requests_per_minute: float | None
    requests_left: float | None
    tokens_per_minute: float | None
    tokens_left: float | None

    @property
    def tokens(self) -> int:
        """Tokens in both directions."""
        return self.prompt_tokens + self.completion_tokens


NO_RATES: Mapping[str, Rates] = {}

_Place: TypeAlias = tuple[tuple[bool, int, int], int, PendingCall, "asyncio.Future[None]"]


class Limiter:
    """A model that keeps the limits of an account. *clock* tells seconds.

    *rates* are what the service said of its limits before, by model.
    """

    def __init__(
        self,
        model: ChatModel,
        limits: Limits,
        *,
        rates: Mapping[str, Rates] = NO_RATES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._model = model
        self._clock = clock
        self._slots = Adaptive(limits.in_flight, adaptive=limits.adaptive)
        self._cooldown = Cooldown()
        now = clock()
        self._pacing = Pacing(limits.requests_per_minute, limits.tokens_per_minute, rates, now)
        self._line: list[_Place] = []
        self._places = 0
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._in_flight = self._waiting = 0
        self._calls = self._refused = self._failed = 0
        self._prompt_tokens = self._completion_tokens = 0
        self._busy = self._waited = 0.0
        self._counted = now

    def statistics(self) -> LimiterStatistics:
        """Return how things are now."""
        now = self._clock()
        self._count_busy(now)
        requests, tokens = self._pacing.requests, self._pacing.tokens
        return LimiterStatistics(
            in_flight=self._in_flight,
            waiting=self._waiting,
            limit=int(self._slots.limit),
            ceiling=self._slots.ceiling,
            calls=self._calls,
            refused=self._refused,
            failed=self._failed,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            busy_seconds=self._busy,
            wait_seconds=self._waited,
            cooldown_seconds=max(0.0, self._cooldown.until - now),
            requests_per_minute=requests.limit if requests else None,
            requests_left=requests.left(now) if requests else None,
            tokens_per_minute=tokens.limit if tokens else None,
            tokens_left=tokens.left(now) if tokens else None,
        )

    # -- at the will of whoever watches

    @property
    def paused(self) -> bool:
        """Whether no call is sent until `go_on`."""
        return self._paused

    def pause(self) -> None:
        """Send no call from now on; those in flight end."""
        self._paused = True

    def go_on(self) -> None:
        """Send calls again."""
        self._paused = False
        self._move_line()

    def change(self, limits: Limits) -> None:
        """Keep other *limits* from now on; calls in flight stay, be they too many."""
        before, self.limits = self.limits, limits
        if limits.in_flight != before.in_flight:
            self._slots.change(limits.in_flight)
        told = (limits.requests_per_minute, limits.tokens_per_minute)
        if told != (before.requests_per_minute, before.tokens_per_minute):
            self._pacing.change(*told, self._clock())
        self._move_line()

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the model's reply, after waiting for a slot; its *wait* says how long."""
        now = self._clock()
        pending = PendingCall(request)
        waited = 0.0
        # Nobody overtakes those who wait, even where there is room.
        if self._waiting or self._delay(pending, now):
            await self._stand_in_line(pending)
            waited = self._clock() - now
            self._waited += waited
        else:
            self._enter(pending, now)
        try:
            reply = await self._model.reply(request)
        except TransientError as error:
            error.wait += waited
            self._note_failure(error, pending)
            raise
        else:
            self._note_reply(reply, pending)
        finally:
            self._leave(pending)
        return msgspec.structs.replace(reply, wait=reply.wait + waited) if waited else reply

    # -- the line

    async def _stand_in_line(self, pending: PendingCall) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._places += 1
        # A running number settles ties: calls themselves are never compared.
        heappush(self._line, (pending.request.priority, self._places, pending, woken))
        self._waiting += 1
        self._move_line()
        try:
            await woken
        except asyncio.CancelledError:
            if woken.cancelled():
                self._waiting -= 1
                self._move_line()  # it may have been the one that the pace held back
            else:
                self._pacing.give_back(pending)
                self._leave(pending)
            raise

    def _move_line(self) -> None:
        """Let those in who may; set the timer if it is only time that is missing."""
        line = self._line
        now = self._clock()
        while line:
            _, _, pending, woken = line[0]
            # Who gave up in the line is passed over when it would have been its turn.
            if not woken.done():
                delay = self._delay(pending, now)
                if delay:
                    # The first one is waited for: smaller calls would starve it.
                    self._set_timer(delay)
                    return
                self._waiting -= 1
                self._enter(pending, now)
                woken.set_result(None)
            heappop(line)

    def _delay(self, pending: PendingCall, now: float) -> float:
        """Return the seconds until a call may be sent: 0 is now, infinity when a slot is free.

        Also infinity while nothing is sent: `go_on` moves the line.
        """
        if self._paused or self._in_flight >= int(self._slots.limit):
            return float("inf")
        return max(0.0, self._cooldown.until - now, self._pacing.delay(pending, now))

    def _set_timer(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay != float("inf"):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay + _TICK, self._move_line)

    # -- going in and out

    def _enter(self, pending: PendingCall, now: float) -> None:
        self._count_busy(now)
        self._in_flight += 1
        self._pacing.send(pending, now)

    def _leave(self, pending: PendingCall) -> None:
        self._pacing.end(pending)
        self._count_busy(self._clock())
        self._in_flight -= 1
        self._calls += 1
        if self._waiting:
            self._move_line()

    def _count_busy(self, now: float) -> None:
        self._busy += self._in_flight * (now - self._counted)
        self._counted = now

    # -- learning

    def _note_reply(self, reply: ChatReply, pending: PendingCall) -> None:
        now = self._clock()
        self._slots.replied(self._in_flight, now - pending.started)
        self._cooldown.replied()
        self._prompt_tokens += reply.prompt_tokens
        self._completion_tokens += reply.completion_tokens
        self._pacing.note_reply(reply, pending, now)

    def _note_failure(self, error: TransientError, pending: PendingCall) -> None:
        now = self._clock()
        if error.kind == "rate_limit":
            # What it was to cost stays spent: there was less left than we thought.
            self._refused += 1
            self._slots.refused(pending.started, now)
            self._cooldown.refused(error.retry_after, now)
        else:
            self._failed += 1
            self._pacing.note_failure(pending)
        self._pacing.heed(error.rates, pending, now)
