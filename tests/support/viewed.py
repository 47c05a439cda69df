"""Pages that are served to look at, from a thread of their own, and what asks for them by hand."""

import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

from anyio.from_thread import start_blocking_portal

from sim.views.web.folder import folder_of
from sim.views.web.gate import Gate
from sim.views.web.server import served
from sim.views.web.site import site_of

_PATIENCE = 60.0  # seconds, for a machine that is busy
_LEADS = re.compile(r'\s(?:href|[a-z-]*src|trend|calls|episode|action)="(/[^"]*)"')


@contextmanager
def viewed(*paths: Path, gate: Gate | None = None) -> Iterator[str]:
    """Serve what `billp view` shows of *paths*; yield the address, which ends with a slash."""
    site = site_of(folder_of(paths), gate or Gate.at("127.0.0.1"))
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(served(site, 0)) as url,
    ):
        yield url.partition("?")[0]


@dataclass(frozen=True)
class Answer:
    """What came back, as it came."""

    status: int
    headers: Mapping[str, str]
    body: str


def asked(url: str, path: str = "/", *, how: str = "GET", **headers: str) -> Answer:
    """Ask the service at *url* for *path*, as it stands: no client puts anything right.

    Of the names of *headers* `_` stands for `-`; a Host is told unless there is one.
    """
    place = urlsplit(url)
    told = {"Host": place.netloc, "Connection": "close", **headers}
    lines = [f"{how} {path} HTTP/1.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in told.items()]
    with connected(url) as link:
        link.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        return _answer(b"".join(iter(lambda: link.recv(1 << 16), b"")))


def connected(url: str) -> socket.socket:
    """Return a connection to the service at *url*."""
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), _PATIENCE)


def _answer(said: bytes) -> Answer:
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), headers, body.decode())


def crawled(url: str, most: int = 200, *also: str) -> dict[str, Answer]:
    """Return all pages at *url*, by path, that the first or *also* lead to, each also as JSON.

    Of addresses that differ in nothing but numbers three are taken; *most* are, in all.
    """
    found: dict[str, Answer] = {}
    alike: Counter[str] = Counter()
    coming = ["/", *also]
    while coming and len(found) < most:
        path = coming.pop(0)
        alike[re.sub(r"\d+", "0", path)] += 1
        if path in found or alike[re.sub(r"\d+", "0", path)] > 3:
            continue
        found[path] = answer = asked(url, path)
        if answer.headers["Content-Type"].startswith("text/html"):
            leads = [unescape(lead).partition("#")[0] for lead in _LEADS.findall(answer.body)]
            coming += [lead for lead in leads if not lead.startswith(("/static/", "/events/"))]
            as_json = path if "json" in path else f"{path}{'&' if '?' in path else '?'}json"
            coming.append(as_json)
    return found
