"""Pages asked for by plain calls, and as a browser would get them."""

from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from sim.views.web.folder import Folder
from sim.views.web.gate import Gate
from sim.views.web.page import Asked
from sim.views.web.site import site_of


def asked(run: Path, **query: object) -> Asked:
    """Return what somebody asks of a page of *run*."""
    told = {name: str(value) for name, value in query.items()}
    return Asked(Folder(run.parent), run.name, query=told)


async def got(folder: Path, address: str) -> tuple[int, str]:
    """Return the status and the text of what stands at *address* of the pages of *folder*."""
    site = site_of(Folder(folder), Gate.at("127.0.0.1"))
    server: Any = TestServer(site.app())
    async with TestClient(server) as client, client.get(address) as response:
        return response.status, await response.text()
