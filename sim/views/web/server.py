"""A server for pages, within whatever event loop there is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sim.views.listening import listening
from sim.views.web.site import Site


@asynccontextmanager
async def served(
    site: Site, port: int, page: str = "/", *, free: str = "--port 0"
) -> AsyncIterator[str]:
    """Serve *site* at its host and *port*, 0 for a free one; yield the address of *page*.

    Raises ConfigError if there is no such place, or it is taken; *free* takes a free one.
    """
    token = f"?token={site.gate.token}" if site.gate.token else ""
    async with listening(site.app(), site.gate.host, port, free=free) as address:
        yield f"{address}{page}{token}"
