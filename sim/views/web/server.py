"""A server for pages, within whatever event loop there is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from aiohttp import web

from engine.errors import ConfigError
from sim.views.web.site import Site


@asynccontextmanager
async def served(site: Site, port: int, page: str = "/") -> AsyncIterator[str]:
    """Serve *site* at its host and *port*, 0 for a free one; yield the address of *page*.

    Raises ConfigError if there is no such place, or it is taken.
    """
    runner = web.AppRunner(site.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        place = web.TCPSite(runner, site.gate.host, port)
        try:
            await place.start()
        except (OSError, OverflowError) as error:
            where = f"{site.gate.host}:{port}"
            why = getattr(error, "strerror", None) or str(error)
            hint = "--port 0 takes a free one"
            raise ConfigError(
                f"{where}: cannot be listened at: {why.lower()}", hint=hint
            ) from error
        yield _address(runner, site, page)
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


def _address(runner: web.AppRunner, site: Site, page: str) -> str:
    host, port, *_ = runner.addresses[0]
    name = f"[{host}]" if ":" in host else host
    token = f"?token={site.gate.token}" if site.gate.token else ""
    return f"http://{name}:{port}{page}{token}"
