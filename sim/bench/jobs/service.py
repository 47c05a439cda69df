"""What a call over HTTP costs: in whole runs, and in bare loops over clients that send as much.

The service is a process of its own that answers after 200 ms, as cheaply as can be, so that there
is something left to measure on two processors. What counts is the client's processor time.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import aiohttp
import httpx2
import openai

from agents.models.guards.limiter import Limiter, Limits
from agents.models.guards.retrying import Patience, Retrying
from agents.models.model import ChatMessage, ChatReply, ChatRequest, Sampling
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.service import Account
from agents.models.remote.wire import decode_reply, encode_request
from engine.calls import Call
from sim.bench.cost import Cost, Stopwatch, cost_of
from sim.config.layers import configured
from sim.runs.loop import in_event_loop
from sim.runs.run import run

REPLY = "recommend[The Restless Hunter Deluxe] 2"
"""Whatever is asked, this can be read: a thought, an action, a value, a lesson."""

_PROMPT = "- Half-Life 2 | Action, Shooter | 4.5\n" * 30
_SERVICE = """
import asyncio, json, sys
usage = {"prompt_tokens": 300, "completion_tokens": 40, "total_tokens": 340}
message = {"role": "assistant", "content": sys.argv[1], "refusal": None}
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


@contextmanager
def served(reply: str = REPLY) -> Iterator[str]:
    """Run a service that always gives *reply*, in a process of its own; yield its URL."""
    words = [sys.executable, "-c", _SERVICE, reply]
    service = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    try:
        yield f"http://127.0.0.1:{service.stdout.readline().strip()}/v1"
    finally:
        service.kill()
        service.communicate()


@dataclass(frozen=True)
class Load:
    """So many *calls*, of which so many are always *in_flight*."""

    in_flight: int = 1_000
    calls: int = 4_000


Ask: TypeAlias = Callable[[ChatRequest], Awaitable[ChatReply]]
Measured: TypeAlias = Callable[[Ask], Awaitable[None]]


def request(seed: int) -> ChatRequest:
    """Return a request as long as those of runs."""
    return ChatRequest(
        call=Call(seed, seed, 0, 0, "planner", 0),
        sampling=Sampling(model="m"),
        messages=(
            ChatMessage(role="system", content="You plan recommendations."),
            ChatMessage(role="user", content=_PROMPT),
        ),
        seed=seed,
    )


async def through_chain(url: str, load: Load, measured: Measured) -> None:
    """Ask as billp does: through retries, limiter, model."""
    async with OpenAIModel(Account(key="k", url=url, connections=load.in_flight)) as model:
        limiter = Limiter(model, Limits(in_flight=load.in_flight))
        await measured(Retrying(limiter, Patience()).reply)


async def through_aiohttp(url: str, load: Load, measured: Measured) -> None:
    """Ask by aiohttp, with our formats: the floor."""
    connector = aiohttp.TCPConnector(limit=load.in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:
        headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
        path = f"{url}/chat/completions"

        async def ask(asked: ChatRequest) -> ChatReply:
            body = encode_request(asked)
            async with session.post(path, data=body, headers=headers) as answer:
                return decode_reply(await answer.read(), answer.headers)

        await measured(ask)


async def through_openai(url: str, load: Load, measured: Measured) -> None:
    """Ask by the SDK, as its manual says."""
    async with _sdk(url, load) as client:

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

        await measured(ask)


async def through_raw_openai(url: str, load: Load, measured: Measured) -> None:
    """Ask by the SDK without its models: our bytes in, bytes out."""
    async with _sdk(url, load) as client:

        async def ask(asked: ChatRequest) -> ChatReply:
            answer = await client.post(
                "/chat/completions",
                content=encode_request(asked),
                cast_to=httpx2.Response,
                options={"headers": {"Content-Type": "application/json"}},
            )
            return decode_reply(answer.content, answer.headers)

        await measured(ask)


def _sdk(url: str, load: Load) -> openai.AsyncOpenAI:
    limits = httpx2.Limits(max_connections=load.in_flight, max_keepalive_connections=load.in_flight)
    http = openai.DefaultAioHttpClient(limits=limits)
    # Its usual five seconds are too short for it to open 10,000 connections at once.
    return openai.AsyncOpenAI(
        base_url=url, api_key="k", http_client=http, max_retries=0, timeout=600.0
    )


WAYS = {
    "chain": through_chain,
    "aiohttp": through_aiohttp,
    "openai": through_openai,
    "raw openai": through_raw_openai,
}
"""Each way to a service, by name."""


def by_way(way: str, load: Load, url: str) -> Cost:
    """Return what calls cost on a *way*, when the connections are open."""
    found: list[Cost] = []

    async def measured(ask: Ask) -> None:
        await asyncio.gather(*[ask(request(seed)) for seed in range(load.in_flight)])
        found.append(await _one_round(ask, load))

    in_event_loop(partial(WAYS[way], url, load, measured))
    return found[0]


async def _one_round(ask: Ask, load: Load) -> Cost:
    seeds = iter(range(load.calls))

    async def worker() -> None:
        for seed in seeds:
            await ask(request(seed))

    watch = Stopwatch()
    await asyncio.gather(*[worker() for _ in range(load.in_flight)])
    return watch.cost(load.calls)


def calling(way: str, in_flight: int, calls: int) -> Cost:
    """Return what calls cost on a *way*, with a service that begins and ends with it."""
    with served() as url:
        return by_way(way, Load(in_flight, calls), url)


def whole(in_flight: int, episodes: int) -> Cost:
    """Return what calls cost in a run, with prompts, memories, journal and trace."""
    with served() as url, tempfile.TemporaryDirectory() as place:
        return whole_run(url, in_flight, episodes, Path(place))


def whole_run(url: str, in_flight: int, episodes: int, place: Path) -> Cost:
    """Return what calls cost in a run of episodes that take their turns; counted are calls."""
    key = place / "key"
    key.write_text("k")
    key.chmod(0o600)
    settings = {
        "model": "openai/m",
        "base_url": url,
        "key_file": str(key),
        "arrivals": "all",
        "limit": 4,
        "quit": {"window": 0},
        "fsync": "none",
        "prompts": False,
    }
    run(configured({**settings, "episodes": 2, "seed": 1}), out=place / "warm")
    config = configured({**settings, "episodes": episodes, "concurrency": in_flight})
    return cost_of(lambda: run(config, out=place / "run").live_calls)
