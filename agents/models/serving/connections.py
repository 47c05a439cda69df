"""Connections to a service of our own: how many, for how long, and how much of them is held.

Whatever clients do, what they cost is bounded: connections and waiting requests by number; heads,
bodies and answers by time; what was sent and not yet answered, or answered and not yet read, by
size. Who comes on top of it gets 503 and is told to come again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from agents.models.serving.refusals import RefusedRequestError, busy, unreadable

_SPARE = 64  # connections on top of all that are told so; the others find theirs cut
_LAST_WORDS = 1.0  # seconds for who is told to go: cut at once, a client would not read why
_TURNED_AWAY = busy("connections").written()


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What clients may take of a service; counts, bytes and seconds.

    *waiting* are requests that are being answered, *body* and *file* count packed and unpacked, and
    *held* is for all clients together: sent and not answered, or answered and not read. *kept* are
    bytes of files, *batches* those that are remembered. *idle* is for a request's head to arrive,
    *arrival* for its body, *departure* for its answer to be read.
    """

    connections: int = 10_000
    waiting: int = 5_000
    body: int = 2**20
    file: int = 2**24
    held: int = 2**25
    kept: int = 2**27
    batches: int = 1_000
    idle: float = 75.0
    arrival: float = 30.0
    departure: float = 30.0


class Connections(web.Server):
    """All connections of a service, which *answer* gets the requests of.

    *count* is how many there are, *waiting* how many requests are being answered, and *held* how
    many bytes are kept for them.
    """

    def __init__(
        self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], bounds: Bounds
    ) -> None:
        super().__init__(self._admit)
        self.bounds = bounds
        self.waiting = 0
        self.held = 0
        self._answer = answer
        self._wires: set[asyncio.Transport] = set()

    def __call__(self) -> "Connection":
        """Return the protocol of a connection that comes."""
        return Connection(self, self._loop)

    @property
    def count(self) -> int:
        """How many connections there are."""
        return len(self._wires)

    def enter(self, wire: asyncio.Transport) -> bool:
        """Count a connection; return whether there is room for it."""
        self._wires.add(wire)
        if self.count > self.bounds.connections + _SPARE:
            wire.abort()
        return self.count <= self.bounds.connections

    def leave(self, wire: asyncio.Transport) -> None:
        """Count a connection no more."""
        self._wires.discard(wire)

    async def end(self) -> None:
        """Cut what is left, such as clients that would never read what is still to be sent."""
        for wire in tuple(self._wires):
            wire.abort()
        await asyncio.sleep(0)  # they hear of it in the next round of the loop

    async def _admit(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.waiting >= self.bounds.waiting:
            return busy("requests").response()
        if self.held > self.bounds.held:
            return busy("bytes").response()
        self.waiting += 1
        cast(Connection, request.protocol).begin()
        try:
            return await self._answer(request)
        finally:
            self.waiting -= 1


class Connection(web.RequestHandler):
    """One connection. It reads, parses and answers as aiohttp does, but within bounds."""

    __slots__ = ("_all", "_busy", "_deaf", "_held", "_late", "_wire")

    def __init__(self, connections: Connections, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            connections,
            loop=loop,
            keepalive_timeout=connections.bounds.idle,
            lingering_time=_LAST_WORDS,
            auto_decompress=False,  # it would go on unpacking what was refused
        )
        self._all = connections
        self._wire: asyncio.Transport | None = None
        self._held = 0
        self._deaf = False
        self._busy = False
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or turn a client away for whom there is no room."""
        self._wire = wire = cast(asyncio.Transport, transport)
        if not self._all.enter(wire):
            self._turn_away(wire)
            return
        # Whatever the client has not taken yet counts as not read: see pause_writing.
        wire.set_write_buffer_limits(high=0)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        super().connection_lost(exc)
        if self._wire is not None:
            self._all.leave(self._wire)
            self._wire = None
        self._stop_clock()
        self._messages.clear()  # they point to each other, and would stay until they are collected
        if not self._busy:  # else what it sent is still held by whoever makes its answer
            self._release()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is of no use any more."""
        if not self._deaf and self._hold(len(data)):
            super().data_received(data)

    def pause_writing(self) -> None:
        """Start the clock: the client does not read, or slowly."""
        super().pause_writing()
        self._late = self._loop.call_later(self._all.bounds.departure, self._cut)

    def resume_writing(self) -> None:
        """Stop the clock: the client has read all."""
        self._stop_clock()
        super().resume_writing()

    def begin(self) -> None:
        """Note that a request is being answered."""
        self._busy = True

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; what is held for it and its request is let go once it is read."""
        if not request.content.is_eof():
            self._deaf = True  # what is left of a refused body is not worth reading
            resp.force_close()
        self._hold(2 * (resp.content_length or 0))  # the transport has a copy of its own
        try:
            done = await super().finish_response(request, resp, start_time)
            if self.writing_paused:  # else who pipelines and never reads would fill the memory
                await request.writer.drain()
        except ConnectionError:
            return resp, True
        finally:
            self._busy = False
            if self.transport is None or not (self._messages or self._deaf):
                self._release()
        if self._deaf and request.content.exception() is not None:
            self.force_close()  # there is nothing to wait for
        return done

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP, and what nobody expected, in the shape of the protocol."""
        if isinstance(exc, HttpProcessingError):
            refusal = unreadable(exc)
        else:
            super().handle_error(request, status, exc, message)  # logs it
            refusal = RefusedRequestError(status, "The server had an error.", kind="server_error")
        response = refusal.response()
        response.force_close()
        return response

    def _turn_away(self, wire: asyncio.Transport) -> None:
        self._deaf = True
        if not wire.is_closing():
            wire.write(_TURNED_AWAY)
            wire.write_eof()
            self._late = self._loop.call_later(_LAST_WORDS, wire.abort)

    def _hold(self, size: int) -> bool:
        """Count *size* bytes; return whether there is room for them, else the connection ends."""
        self._held += size
        self._all.held += size
        if self._all.held <= 1.25 * self._all.bounds.held:
            return True
        self._deaf = True
        self._cut()  # refusing politely was not enough
        return False

    def _release(self) -> None:
        self._all.held -= self._held
        self._held = 0

    def _cut(self) -> None:
        if self._wire is not None:
            self._wire.abort()

    def _stop_clock(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
