"""Pages that are served to look at, from a thread of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from sim.views.web.folder import folder_of
from sim.views.web.gate import Gate
from sim.views.web.server import served
from sim.views.web.site import site_of


@contextmanager
def viewed(*paths: Path, gate: Gate | None = None) -> Iterator[str]:
    """Serve what `billp view` shows of *paths*; yield the address, which ends with a slash."""
    site = site_of(folder_of(paths), gate or Gate.at("127.0.0.1"))
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(served(site, 0)) as url,
    ):
        yield url
