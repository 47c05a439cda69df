"""What a model of this machine does: run with `pytest tests/bench/test_bench_local.py -s`.

The ceiling is llama.cpp itself, called from as many threads as it has slots, with the same calls.
Both ways are measured in turns, on one model that is loaded once: what else the machine does meets
both. The prompts are new each time, so that no round remembers what another one asked.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from statistics import median

import msgspec
import pytest

from agents.models.local.engine import Engine, load
from agents.models.local.opening import planned
from agents.models.model import ChatMessage, ChatRequest, Sampling
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.service import Account
from agents.models.remote.wire import encode_request
from agents.settings import LocalSettings
from engine.calls import Call
from tests.support.gguf import real_model

CALLS = 8
ROUNDS = 6
TOKENS = 32


def requests(numbers: "count[int]") -> list[ChatRequest]:
    return [request(next(numbers)) for _ in range(CALLS)]


def request(number: int) -> ChatRequest:
    text = f"User {number} likes slow dramas and silent comedies. Count upwards from {number}."
    return ChatRequest(
        call=Call(0, number, 0, 0, "actor", 0),
        sampling=Sampling(model="smollm2", temperature=0.5, max_tokens=TOKENS),
        messages=(ChatMessage(role="user", content=text),),
        seed=number,
    )


def bare(engine: Engine, slots: int, asked: list[ChatRequest]) -> None:
    """Ask llama.cpp from threads of its own, with nothing of ours between."""
    bodies = [msgspec.json.decode(encode_request(one)) for one in asked]
    with ThreadPoolExecutor(slots) as pool:
        answers = list(pool.map(engine.server.handle_chat_completions, bodies))
    assert all("choices" in answer for answer in answers)


async def timed(work: Callable[[list[ChatRequest]], Awaitable[object]], n: "count[int]") -> float:
    asked = requests(n)
    began = time.perf_counter()
    await work(asked)
    return CALLS / (time.perf_counter() - began)


async def rates(slots: int) -> tuple[float, float]:
    """Return the calls a second of the bare library and of ours, medians of rounds in turn."""
    engine = load(planned("smollm2", LocalSettings(slots=slots, threads=1, context=512), slots))
    account = Account(key=engine.key, url=engine.url, connections=slots)
    numbers = count()
    ceiling, reached = list[float](), list[float]()
    async with OpenAIModel(account, reasoning=False) as model:
        gate = asyncio.Semaphore(slots)

        async def ask(one: ChatRequest) -> None:
            async with gate:
                await model.reply(one)

        async def ours(asked: list[ChatRequest]) -> None:
            await asyncio.gather(*map(ask, asked))

        async def theirs(asked: list[ChatRequest]) -> None:
            await asyncio.to_thread(bare, engine, slots, asked)

        await ours(requests(numbers))
        for _ in range(ROUNDS):
            ceiling.append(await timed(theirs, numbers))
            reached.append(await timed(ours, numbers))
    return median(ceiling), median(reached)


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_the_way_over_http_costs_next_to_nothing(slots: int) -> None:
    """Nine tenths of the bare library's calls a second at least; 0.95 is the aim."""
    real_model()
    ceiling, reached = asyncio.run(rates(slots))
    share = reached / ceiling
    figures = f"{ceiling:.2f} calls/s bare, {reached:.2f} ours, share {share:.3f}"
    sys.stdout.write(f"{slots} slots: {figures}\n")
    assert share > 0.9
