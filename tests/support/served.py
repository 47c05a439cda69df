"""A service to run against over real HTTP, which tells what its calls met."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from anyio.from_thread import start_blocking_portal

from agents.models.embedded import EmbeddedModel
from agents.models.serving.faults import FAULTS
from agents.models.serving.server import Server

PROBES = 2
"""Calls before a run begins: for a word, and for the form of replies."""

STATUS = {
    **dict.fromkeys(("rate_limit", "rate_limit_told", "no_room"), "429"),
    **{"error": "500", "unavailable": "503"},
}


@dataclass(frozen=True)
class Served:
    """Where a service is, and what calls met there: `replied`, a status, or a fault."""

    url: str
    outcomes: Counter[str]

    @property
    def remote(self) -> dict[str, str]:
        """The settings of a run whose model is the embedded one of this service."""
        return {"model": "openai/embedded", "base_url": self.url}

    @property
    def words(self) -> tuple[str, ...]:
        """The same for the command line."""
        return ("--model", "openai/embedded", "--base-url", self.url)

    @property
    def answered(self) -> int:
        """How many calls were answered as they should be."""
        return self.outcomes["replied"]

    def met(self, fault: str) -> int:
        """Return how many calls met *fault*."""
        assert fault in FAULTS
        return self.outcomes[STATUS.get(fault, fault)]


@contextmanager
def served(server: Server | None = None) -> Iterator[Served]:
    """Serve the embedded model, or by *server*, from a thread of its own."""
    server = server or Server(EmbeddedModel())
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server) as url:
        yield Served(url, server.outcomes)
