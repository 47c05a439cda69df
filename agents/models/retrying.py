"""Trying again what may pass: which errors, how often, after how long.

It stands outside the limiter, so a call that waits to be tried again holds no slot. None of it can
be seen in a trace: jitter has streams of its own, and every attempt is told to an observer only.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from agents.models.model import ChatModel, ChatReply, ChatRequest, TransientError
from engine.chance import Stream, chance
from engine.episode import Call
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

    *kind* is why it failed, or None if it got a reply; after the last attempt there is no pause.
    """

    call: Call
    number: int
    kind: str | None
    wait: float
    latency: float
    pause: float = 0.0


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

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the first reply; raises CallFailedError when patience is at its end."""
        stream: Stream | None = None
        waited = spent = 0.0
        number = 0
        while True:
            number += 1
            start = self._clock()
            try:
                reply = await self._model.reply(request)
            except TransientError as error:
                stream = stream or _jitter(request)
                latency = self._clock() - start - error.wait
                pause = self._patience.pause(number, error.retry_after, stream)
                spent += latency + pause
                waited += error.wait + pause
                last = number >= self._patience.attempts or spent > self._patience.total
                self._tell(request, number, latency, error, 0.0 if last else pause)
                if last:
                    raise _given_up(error, number) from error
            else:
                self._tell(request, number, self._clock() - start - reply.wait, reply, 0.0)
                if number == 1:
                    return reply
                return msgspec.structs.replace(reply, attempts=number, wait=reply.wait + waited)
            await self._sleep(pause)

    def _tell(
        self,
        request: ChatRequest,
        number: int,
        latency: float,
        outcome: ChatReply | TransientError,
        pause: float,
    ) -> None:
        if self._observe is not None:
            kind = outcome.kind if isinstance(outcome, TransientError) else None
            attempt = Attempt(
                call=request.call,
                number=number,
                kind=kind,
                wait=outcome.wait,
                latency=latency,
                pause=pause,
            )
            self._observe(attempt)


def _given_up(error: TransientError, number: int) -> CallFailedError:
    attempts = "1 attempt" if number == 1 else f"{number} attempts"
    return CallFailedError(f"no reply after {attempts}: {error}", kind=error.kind)


def _jitter(request: ChatRequest) -> Stream:
    call = request.call
    purpose = f"retry/{call.role}/{call.occurrence}"
    return chance(request.seed, call.user, call.session, call.step, purpose)
