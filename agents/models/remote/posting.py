"""A body posted over a connection of aiohttp's, with a head that is made once.

aiohttp opens connections, keeps them and reads what comes over them. What its sessions do beside
that at every call (merge headers, take the URL apart, start a task that writes) costs more than the
call itself, and comes out the same for all calls of a model (tests/bench/test_bench_models.py).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from yarl import URL

from agents.models.remote.bounded import received
from agents.models.remote.deadlines import Deadlines, Timeouts, Within

_LENGTH = "Content-Length"


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What goes before a body: *begun* up to its length, and what a connector wants to know."""

    request: aiohttp.ClientRequest
    begun: bytes


def head_for(url: str, headers: Mapping[str, str]) -> Head:
    """Return the head of what is posted to *url*, as aiohttp would send it."""
    loop = asyncio.get_running_loop()
    request = aiohttp.ClientRequest("POST", URL(url), headers=headers, loop=loop)
    request.headers.popall(_LENGTH, None)
    named = (f"{name}: {value}" for name, value in request.headers.items())
    lines = (f"POST {request.url.raw_path_qs} HTTP/1.1", *named, f"{_LENGTH}: ")
    if any(mark in line for line in lines for mark in "\r\n\0"):
        raise ValueError("a header has more than one line")
    return Head(request, "\r\n".join(lines).encode())


@dataclass(slots=True, eq=False)
class Response:
    """An answer of which the head is here, and the body may be on its way over *connection*."""

    connection: Connection
    message: RawResponseMessage
    content: aiohttp.StreamReader

    @property
    def status(self) -> int:
        """The status."""
        return self.message.code

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names are found in upper and lower case."""
        return self.message.headers

    def close(self) -> None:
        """Close the connection: what comes over it is of no use."""
        self.connection.close()


class Poster:
    """Posts bodies over the connections of a *connector*. Of one event loop; to be closed."""

    def __init__(self, connector: aiohttp.BaseConnector, timeouts: Timeouts) -> None:
        self._connector = connector
        self._connecting = aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect)
        self._next_byte = timeouts.first_byte
        self._silent = Deadlines(timeouts.first_byte, _end_silence)
        self._whole = Deadlines[asyncio.Task[object]](timeouts.whole, lambda task: task.cancel())

    async def post(
        self, head: Head, body: bytes, most: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return the status, the headers and at most so many bytes of what is answered to *body*.

        Raises what aiohttp's sessions do, and TransientError for what is beyond bounds.
        """
        with Within(self._whole):
            connection = await self._connected(head)
            try:
                response = await self._asked(connection, head, body)
                answer = await received(response, most)
            except BaseException:
                connection.close()
                raise
            connection.release()
            return response.status, response.headers, answer

    def close(self) -> None:
        """End the wait of nobody any more."""
        self._silent.close()
        self._whole.close()

    async def _connected(self, head: Head) -> Connection:
        try:
            return await self._connector.connect(head.request, [], self._connecting)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error

    async def _asked(self, connection: Connection, head: Head, body: bytes) -> Response:
        protocol = connection.protocol
        if protocol is None or protocol.transport is None or protocol.transport.is_closing():
            raise aiohttp.ClientConnectionResetError("the connection is closed")
        protocol.set_response_params(read_until_eof=True, auto_decompress=False)
        # In one piece, of which nobody need wait for the end: who has not read it cannot answer.
        protocol.transport.write(b"%b%d\r\n\r\n%b" % (head.begun, len(body), body))
        self._silent.begin(protocol)
        try:
            response = await _begun(connection, protocol)
        except HttpProcessingError as error:
            request = head.request.request_info
            raise aiohttp.ClientResponseError(
                request, (), status=error.code, message=error.message, headers=error.headers
            ) from error
        finally:
            self._silent.over(protocol)
        if not response.content.is_eof():  # what is on its way may stop, too
            protocol.read_timeout = self._next_byte
            protocol.start_timeout()
        return response


def _end_silence(protocol: ResponseHandler) -> None:
    protocol.set_exception(aiohttp.SocketTimeoutError("no answer in time"))


async def _begun(connection: Connection, protocol: ResponseHandler) -> Response:
    """Return the answer, past all that only says that there will be one."""
    while True:
        message, content = await protocol.read()
        if not 100 <= message.code < 200 or message.code == 101:
            return Response(connection, message, content)
