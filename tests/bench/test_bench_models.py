"""What a model call costs: run with `pytest tests/bench/test_bench_models.py -s`.

Rates are compared within one run, since machines and their load differ. The service is a process of
its own that answers after 200 ms; where it, not we, is the limit, all rates come out alike.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
import httpx2
import msgspec
import openai
import pytest

from agents.models.guards.limiter import Limiter, Limits
from agents.models.guards.retrying import Patience, Retrying
from agents.models.model import ChatMessage, ChatReply, ChatRequest, Sampling
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.service import Account
from agents.models.remote.wire import decode_reply, encode_request
from engine.calls import Call

IN_FLIGHT = 1_000
CALLS = 4_000
ROUNDS = 3
PROMPT = "- Half-Life 2 | Action, Shooter | 4.5\n" * 30

# As cheap a service as can be, so that there is something left to measure on two processors.
SERVICE = """
import asyncio, json
usage = {"prompt_tokens": 300, "completion_tokens": 40, "total_tokens": 340}
message = {"role": "assistant", "content": "Take Portal 2. " * 6, "refusal": None}
choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
body = json.dumps({**head, "choices": [choice], "usage": usage}).encode()
limits = b"x-ratelimit-limit-requests: 1000000\\r\\nx-ratelimit-limit-tokens: 900000000\\r\\n"
limits += b"x-ratelimit-remaining-requests: 999999\\r\\n"
limits += b"x-ratelimit-remaining-tokens: 899999999\\r\\n"
answer = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n" + limits
answer += b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body

class Service(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.read = transport, b""

    def data_received(self, data):
        self.read += data
        head, found, rest = self.read.partition(b"\\r\\n\\r\\n")
        if found:
            said = head.lower().partition(b"content-length:")[2]
            length = int(said.partition(b"\\r\\n")[0] or 0)
            if len(rest) >= length:
                self.read = b""
                asyncio.get_running_loop().call_later(0.2, self.transport.write, answer)

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Service, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


@dataclass(frozen=True)
class Rate:
    """Calls a second, and microseconds of processor time a call."""

    calls: float
    cost: float


@contextmanager
def served(code: str) -> Iterator[str]:
    """Run a service in a process of its own; yield its URL."""
    service = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    yield f"http://127.0.0.1:{service.stdout.readline().strip()}/v1"
    service.kill()
    service.communicate()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(SERVICE) as url:
        yield url


def request(seed: int) -> ChatRequest:
    return ChatRequest(
        call=Call(seed, seed, 0, 0, "planner", 0),
        sampling=Sampling(model="m"),
        messages=(
            ChatMessage(role="system", content="You plan recommendations."),
            ChatMessage(role="user", content=PROMPT),
        ),
        seed=seed,
    )


Ask = Callable[[ChatRequest], Awaitable[ChatReply]]


async def measured(ask: Ask) -> Rate:
    """Return the rate of the best of some rounds, after one that opens the connections."""
    await asyncio.gather(*[ask(request(seed)) for seed in range(IN_FLIGHT)])
    rates = [await one_round(ask) for _ in range(ROUNDS)]
    return max(rates, key=lambda rate: rate.calls)


async def one_round(ask: Ask) -> Rate:
    seeds = iter(range(CALLS))

    async def worker() -> None:
        for seed in seeds:
            await ask(request(seed))

    start, spent = time.perf_counter(), time.process_time()
    await asyncio.gather(*[worker() for _ in range(IN_FLIGHT)])
    wall, cost = time.perf_counter() - start, time.process_time() - spent
    return Rate(CALLS / wall, cost / CALLS * 1e6)


def sdk(url: str) -> openai.AsyncOpenAI:
    limits = httpx2.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    http = openai.DefaultAioHttpClient(limits=limits)
    # Its usual five seconds are too short for it to open 10,000 connections at once.
    return openai.AsyncOpenAI(
        base_url=url, api_key="k", http_client=http, max_retries=0, timeout=600.0
    )


async def through_sdk(url: str) -> Rate:
    """The bare loop: the SDK as its manual says."""
    async with sdk(url) as client:

        async def ask(asked: ChatRequest) -> ChatReply:
            completion = await client.chat.completions.create(
                model="m",
                messages=[
                    {"role": "system", "content": asked.messages[0].content},
                    {"role": "user", "content": asked.messages[1].content},
                ],
                seed=asked.seed,
                temperature=asked.sampling.temperature,
                max_tokens=asked.sampling.max_tokens,
            )
            said = completion.choices[0].message.content or ""
            return ChatReply(text=said, prompt_tokens=0, completion_tokens=0)

        return await measured(ask)


async def through_raw_sdk(url: str) -> Rate:
    """The SDK without its models: our bytes in, bytes out."""
    async with sdk(url) as client:

        async def ask(asked: ChatRequest) -> ChatReply:
            answer = await client.post(
                "/chat/completions",
                content=encode_request(asked),
                cast_to=httpx2.Response,
                options={"headers": {"Content-Type": "application/json"}},
            )
            return decode_reply(answer.content, answer.headers)

        return await measured(ask)


async def through_chain(url: str) -> Rate:
    """What billp does: retries, limiter, model."""
    async with OpenAIModel(Account(key="k", url=url, connections=IN_FLIGHT)) as model:
        chain = Retrying(Limiter(model, Limits(in_flight=IN_FLIGHT)), Patience())
        return await measured(chain.reply)


async def through_aiohttp(url: str) -> Rate:
    """The floor: aiohttp, and our formats."""
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector) as session:
        headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
        path = f"{url}/chat/completions"

        async def ask(asked: ChatRequest) -> ChatReply:
            body = encode_request(asked)
            async with session.post(path, data=body, headers=headers) as answer:
                return decode_reply(await answer.read(), answer.headers)

        return await measured(ask)


def test_calls_a_second(url: str) -> None:
    """At 1,000 in flight the chain beats the bare SDK; plain aiohttp is not far."""
    ways = {
        "openai, as documented": through_sdk,
        "openai, raw": through_raw_sdk,
        "billp": through_chain,
        "plain aiohttp": through_aiohttp,
    }
    rates = {name: asyncio.run(way(url)) for name, way in ways.items()}
    bare, floor = rates["openai, as documented"].calls, rates["plain aiohttp"].calls
    say(f"\n{IN_FLIGHT:,} calls in flight, replies after 200 ms")
    for name, rate in rates.items():
        factors = f"{rate.calls / bare:5.2f} × openai  {rate.calls / floor:5.2f} × aiohttp"
        say(f"{name:24} {rate.calls:6,.0f} calls/s  {rate.cost:6.0f} µs  {factors}")
    assert rates["billp"].calls > 0.85 * bare


class Instant:
    """Replies at once."""

    reply_given = ChatReply(text="yes", prompt_tokens=50, completion_tokens=10)

    async def reply(self, asked: ChatRequest) -> ChatReply:
        return self.reply_given


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
