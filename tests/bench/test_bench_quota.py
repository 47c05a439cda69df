"""How much of a quota is used, in real time: `pytest tests/bench/test_bench_quota.py -s`.

The same law is tested on a virtual clock in tests/agents/models/guards/test_limiter.py; here it
meets real HTTP.
"""

import asyncio
import sys

import anyio
import pytest

from agents.models.guards.limiter import Limiter, Limits
from agents.models.guards.retrying import Patience, Retrying
from agents.models.model import ChatMessage, ChatReply, ChatRequest, Sampling
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.service import Account
from agents.models.serving.latency import Latency
from agents.models.serving.server import Behaviour, Server
from engine.calls import Call

REQUESTS, TOKENS, SECONDS = 600.0, 40_000.0, 90.0


def request(episode: int) -> ChatRequest:
    return ChatRequest(
        call=Call(episode, episode, 0, 0, "planner", 0),
        sampling=Sampling(model="m"),
        messages=(ChatMessage(role="user", content="x" * 200),),
        seed=episode,
    )


class Fixed:
    """Says yes, for 60 tokens."""

    async def reply(self, asked: ChatRequest) -> ChatReply:
        return ChatReply(text="yes", prompt_tokens=50, completion_tokens=10)


@pytest.mark.parametrize("told", [True, False], ids=["told", "learned"])
def test_bench_quota_over_http(told: bool) -> None:
    """At least 95 % used over the time (90 % if limits are learned), fewer than 1 % refused."""
    server, used = asyncio.run(flood(told))
    replied, refused = server.outcomes["replied"], server.outcomes["429"]
    sys.stdout.write(
        f"\n{'told' if told else 'learned'}: {used:.1%} of the quota used, "
        f"{replied:,} replies, {refused:,} refused ({refused / replied:.2%})\n"
    )
    assert used >= (0.95 if told else 0.9)
    assert refused < 0.01 * replied


async def flood(told: bool) -> tuple[Server, float]:
    limits = Limits(requests_per_minute=REQUESTS, tokens_per_minute=TOKENS)
    behaviour = Behaviour(
        latency=Latency(0.3, 0.6), requests_per_minute=REQUESTS, tokens_per_minute=TOKENS
    )
    server = Server(Fixed(), behaviour, names=("m",))
    async with server as url, OpenAIModel(Account(key="k", url=url)) as model:
        limiter = Limiter(model, limits if told else Limits())
        calls = iter(range(10**6))

        async def ask() -> None:
            for episode in calls:
                await Retrying(limiter, Patience(first=0.1)).reply(request(episode))

        with anyio.move_on_after(SECONDS):
            async with asyncio.TaskGroup() as group:
                for _ in range(100):
                    group.create_task(ask())
    statistics = limiter.statistics()
    share = max(statistics.tokens / TOKENS, server.outcomes["replied"] / REQUESTS)
    return server, share * 60 / SECONDS
