"""Listening at a place of this machine, within whatever event loop there is: pages, and figures.

Whoever floods it finds it bounded; a run may be under way here.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from aiohttp import web
from aiohttp.http import HttpProcessingError

from engine.errors import ConfigError

_MOST = 128  # connections at once: far fewer than the files that a run under way may need
_PATIENCE = 60.0  # seconds for a request to be said, and for a connection that says none


@asynccontextmanager
async def listening(
    app: web.Application, host: str, port: int, *, free: str = "--port 0"
) -> AsyncIterator[str]:
    """Serve *app* at *host* and *port*, 0 for a free one; yield its address, without a slash.

    Raises ConfigError if there is no such place, or it is taken; *free* takes a free one.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_faults(),
        keepalive_timeout=_PATIENCE,
        shutdown_timeout=0.1,  # who still listens has heard the last
    )
    await runner.setup()
    try:
        assert runner.server is not None
        place = await _opened(runner.server, host, port, free)
        try:
            yield _address(place)
        finally:
            place.close()
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


async def _opened(server: web.Server, host: str, port: int, free: str) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(_bounded(server), host, port)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        what = f"{host}:{port}: cannot be listened at: {why.lower()}"
        raise ConfigError(what, hint=f"{free} takes a free one") from error


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


def _address(place: asyncio.Server) -> str:
    host, port, *_ = place.sockets[0].getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
