"""A server for pages, within whatever event loop there is; whoever floods it finds it bounded."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from aiohttp import web
from aiohttp.http import HttpProcessingError

from engine.errors import ConfigError
from sim.views.web.site import Site

_MOST = 128  # connections at once: far fewer than the files that a run under way may need
_PATIENCE = 60.0  # seconds for a request to be said, and for a connection that says none


@asynccontextmanager
async def served(site: Site, port: int, page: str = "/") -> AsyncIterator[str]:
    """Serve *site* at its host and *port*, 0 for a free one; yield the address of *page*.

    Raises ConfigError if there is no such place, or it is taken.
    """
    runner = web.AppRunner(
        site.app(),
        access_log=None,
        logger=_faults(),
        keepalive_timeout=_PATIENCE,
        shutdown_timeout=0.1,  # who still listens has heard the last
    )
    await runner.setup()
    try:
        assert runner.server is not None
        listening = await _listening(runner.server, site.gate.host, port)
        try:
            yield _address(listening, site, page)
        finally:
            listening.close()
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


async def _listening(server: web.Server, host: str, port: int) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(_bounded(server), host, port)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"{host}:{port}: cannot be listened at: {why.lower()}",
            hint="--port 0 takes a free one",
        ) from error


def _bounded(server: web.Server) -> Callable[[], asyncio.BaseProtocol]:
    """Return what answers a connection: *server*, unless too many are open."""

    def answer() -> asyncio.BaseProtocol:
        return server() if len(server.connections) < _MOST else _Full()

    return answer


class _Full(asyncio.Protocol):
    """Hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _faults() -> logging.Logger:
    """Return the log of what goes wrong here, but for what others send that is no request."""
    logger = logging.getLogger(__name__)
    logger.addFilter(_is_fault)
    return logger


def _is_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


def _address(listening: asyncio.Server, site: Site, page: str) -> str:
    host, port, *_ = listening.sockets[0].getsockname()
    name = f"[{host}]" if ":" in host else host
    token = f"?token={site.gate.token}" if site.gate.token else ""
    return f"http://{name}:{port}{page}{token}"
