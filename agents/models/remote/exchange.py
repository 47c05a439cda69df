"""Bytes to a service and back, with the URL and the headers that the SDK prepared (service.py).

Where the SDK's own transport tells a broken connection from a timeout by chance, this one says what
happened; it follows no redirection, and takes no more than the bounds allow (bounded.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from agents.models.remote.addresses import secrets_of
from agents.models.remote.bounded import ENCODINGS, MOST_BYTES, malformed, received
from agents.models.remote.deadlines import Timeouts
from agents.models.remote.failures import harmless, transport_failure
from agents.models.remote.posting import Head, Poster, head_for
from engine.errors import ModelError


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """How the SDK would send a request: all but its body."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the names of *headers* are found in upper and lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


_SPOILT = 8  # connections in a row
_OWN = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})


def headers_to_send(headers: Mapping[str, str]) -> dict[str, str]:
    """Return *headers* with our own word on how bytes travel: the rest of that is aiohttp's."""
    sent = {name: value for name, value in headers.items() if name.lower() not in _OWN}
    return {**sent, "Accept-Encoding": ENCODINGS}


class _Connector(aiohttp.TCPConnector):
    """Connections; none is used again over which came what nobody had asked for.

    aiohttp would take it for the answer to the next call.
    """

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        for _ in range(_SPOILT):
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
        raise malformed("speaks without being asked")


class Exchange:
    """A pool of *connections* to the service at *url*. Of one event loop; to be closed."""

    def __init__(self, *, url: str, connections: int, timeouts: Timeouts) -> None:
        self._url = url
        self._connections = connections
        self._timeouts = timeouts
        self._proxy: str | None = None
        self._session: aiohttp.ClientSession | None = None
        self._poster: Poster | None = None  # where no proxy has to be asked
        self._heads: dict[Prepared, Head] = {}

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        most: int = MOST_BYTES,
    ) -> Answer:
        """Return what the service answers, whatever its status, in at most so many bytes.

        Raises TransientError for what may pass, ServiceError for what will not.
        """
        session = self._session or self._open()
        try:
            async with session.request(
                method,
                url,
                headers=headers,
                data=body or None,
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                return Answer(response.status, response.headers, await received(response, most))
        except (aiohttp.ClientError, OSError) as error:  # timeouts and TLS are OSErrors
            failure, cause = self._failure(error)
        # Only here, so that an error that shows the key in its repr is not even its context.
        raise failure from cause

    async def post(self, prepared: Prepared, body: bytes) -> Answer:
        """Do as `send` for what is posted often: most of it is made once for all bodies."""
        if self._session is None:
            self._open()
        if self._poster is None:
            return await self.send("POST", prepared.url, prepared.headers, body)
        head = self._heads.get(prepared)
        if head is None:
            self._heads[prepared] = head = head_for(prepared.url, prepared.headers)
        try:
            return Answer(*await self._poster.post(head, body, MOST_BYTES))
        except (aiohttp.ClientError, OSError) as error:
            failure, cause = self._failure(error)
        raise failure from cause

    def _failure(self, error: Exception) -> tuple[ModelError, Exception | None]:
        """Return what *error* means, and what of it may be told."""
        return transport_failure(error, self._url, self._proxy), harmless(error)

    def secrets(self) -> Iterator[str]:
        """Yield what only the proxy may know."""
        yield from secrets_of(self._proxy or "")

    async def aclose(self) -> None:
        """Close all connections."""
        if self._poster is not None:
            self._poster.close()
            self._poster = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        timeouts = self._timeouts
        secure = self._url.startswith("https:")
        self._proxy = proxy_for(self._url)
        connector = _Connector(
            limit=self._connections, ssl=httpx2.create_ssl_context() if secure else True
        )
        if self._proxy is None:
            self._poster = Poster(connector, timeouts)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(
                total=timeouts.whole, sock_connect=timeouts.connect, sock_read=timeouts.first_byte
            ),
            # No cookies: no call is to know of another.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # what is packed is unpacked within bounds
        )
        return self._session


def proxy_for(url: str) -> str | None:
    """Return the proxy that the system's settings name for *url*; none leads to this machine.

    Asked once: aiohttp's `trust_env` would ask a thread at every call.
    """
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    if _local(host) or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def _local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
