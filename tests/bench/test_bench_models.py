"""What a model call costs: run with `pytest tests/bench/test_bench_models.py -s`.

Rates are compared within one run, since machines and their load differ. The service is a process of
its own that answers after 200 ms; where it, not we, is the limit, all rates come out alike.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from agents.models.guards.limiter import Limiter, Limits
from agents.models.guards.retrying import Patience, Retrying
from agents.models.remote.wire import decode_reply, encode_request
from sim.bench.cost import Cost
from sim.bench.jobs.calls import Instant
from sim.bench.jobs.service import WAYS, Ask, Load, by_way, request, served

ROUNDS = 3


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served() as url:
        yield url


def rate(cost: Cost) -> float:
    """Return the calls a second, by the wall."""
    return cost.count / cost.wall


def test_calls_a_second(url: str) -> None:
    """At 1,000 in flight the chain beats the bare SDK; plain aiohttp is not far."""
    load = Load()
    costs = {way: max((by_way(way, load, url) for _ in range(ROUNDS)), key=rate) for way in WAYS}
    bare, floor = rate(costs["openai"]), rate(costs["aiohttp"])
    say(f"\n{load.in_flight:,} calls in flight, replies after 200 ms")
    for name, cost in costs.items():
        calls = rate(cost)
        factors = f"{calls / bare:5.2f} × openai  {calls / floor:5.2f} × aiohttp"
        say(f"{name:24} {calls:6,.0f} calls/s  {1e6 * cost.each:6.0f} µs  {factors}")
    assert rate(costs["chain"]) > 0.85 * bare


def test_cost_of_limiter() -> None:
    """What limiter and retries add to a call of the embedded model."""
    limited = Limiter(Instant(), Limits())
    paced = Limiter(Instant(), Limits(requests_per_minute=1e9, tokens_per_minute=1e12))
    ways = {
        "limiter": limited.reply,
        "limiter with paces": paced.reply,
        "retries and limiter": Retrying(limited, Patience()).reply,
    }

    async def cost(ask: Ask, count: int = 50_000) -> float:
        asked = request(1)
        start = time.perf_counter()
        for _ in range(count):
            await ask(asked)
        return (time.perf_counter() - start) / count * 1e6

    say("")
    for name, way in ways.items():
        say(f"{name:24} {asyncio.run(cost(way)):6.2f} µs a call")


def test_cost_of_formats() -> None:
    """What bytes cost: our request and a reply of the usual length."""
    asked = request(1)
    choice = {"message": {"content": "Take Portal 2. " * 6}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 300, "completion_tokens": 40}
    body = msgspec.json.encode({"choices": [choice], "usage": usage})

    def cost(call: Callable[[], object], count: int = 50_000) -> float:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count * 1e6

    say(f"\nencode {cost(lambda: encode_request(asked)):6.2f} µs")
    say(f"decode {cost(lambda: decode_reply(body, {})):6.2f} µs")
