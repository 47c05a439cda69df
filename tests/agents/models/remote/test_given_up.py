"""Calls that are given up, as those in flight are when a run stops."""

import asyncio
import gc

import anyio

from agents.models.embedded import EmbeddedModel
from agents.models.remote.deadlines import Timeouts
from agents.models.remote.exchange import Exchange, Prepared
from agents.models.serving.server import Server
from tests.support.served import served

CALLS = 8


def test_who_gives_up_connecting_closes_its_own_sockets_once() -> None:
    """Whenever that is: uvloop before 0.23 kept some, and closed what had their numbers by then."""
    unheard: list[str] = []

    async def given_up(url: str) -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: unheard.append(str(context))
        )
        for tenths in range(0, 80, 2):
            exchange = Exchange(url=url, connections=CALLS, timeouts=Timeouts())
            with anyio.move_on_after(tenths / 10_000):
                async with anyio.create_task_group() as group:
                    for _ in range(CALLS):
                        group.start_soon(exchange.send, "GET", f"{url}/models", {}, b"")
                        group.start_soon(exchange.post, Prepared(f"{url}/models", {}), b"{}")
            await exchange.aclose()

    with served(Server(EmbeddedModel())) as service:
        anyio.run(given_up, service.url, backend_options={"use_uvloop": True})
    gc.collect()
    assert unheard == []
