"""Batches at the service of our own, asked by the official client as a stranger would."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import openai
from openai.types import Batch

from agents.models.model import ChatReply, ChatRequest
from agents.models.serving.connections import Bounds
from agents.models.serving.server import Behaviour, Server

Endpoint = Literal["/v1/chat/completions", "/v1/embeddings"]
CHAT: Endpoint = "/v1/chat/completions"
VECTORS: Endpoint = "/v1/embeddings"


class Echo:
    """Replies with what was said last."""

    async def reply(self, asked: ChatRequest) -> ChatReply:
        return ChatReply(text=asked.messages[-1].content, prompt_tokens=3, completion_tokens=1)


@asynccontextmanager
async def stranger(
    behaviour: Behaviour | None = None, bounds: Bounds | None = None
) -> AsyncIterator[openai.AsyncOpenAI]:
    server = Server(Echo(), behaviour, names=("one",), embed=lambda _: [3, 4], bounds=bounds)
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with (
        server as url,
        openai.AsyncOpenAI(base_url=url, api_key="sk-1", max_retries=0, http_client=http) as client,
    ):
        yield client


def line(name: str, said: str = "hello", url: str = CHAT) -> bytes:
    body = {"model": "one", "messages": [{"role": "user", "content": said}]}
    if url != CHAT:
        body = {"model": "one", "input": said}
    call = {"custom_id": name, "method": "POST", "url": url, "body": body}
    return json.dumps(call).encode() + b"\n"


async def begun(client: openai.AsyncOpenAI, content: bytes, endpoint: Endpoint = CHAT) -> Batch:
    file = await client.files.create(file=("calls.jsonl", content), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h"
    )


async def ended(client: openai.AsyncOpenAI, batch: Batch) -> Batch:
    while batch.status in {"validating", "in_progress", "finalizing", "cancelling"}:
        await asyncio.sleep(0.005)
        batch = await client.batches.retrieve(batch.id)
    return batch


async def lines_in(client: openai.AsyncOpenAI, file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    text = (await client.files.content(file)).text
    return {one["custom_id"]: one for one in map(json.loads, text.splitlines())}


def test_a_batch_answers_all_its_calls() -> None:
    """Each under its own name, with the body that it would have had on its own."""

    async def main() -> None:
        async with stranger() as client:
            batch = await ended(client, await begun(client, line("a", "x") + line("b", "y")))
            assert batch.status == "completed"
            replies = await lines_in(client, batch.output_file_id)
        said = {n: one["response"]["body"]["choices"][0]["message"] for n, one in replies.items()}
        assert {name: one["content"] for name, one in said.items()} == {"a": "x", "b": "y"}

    asyncio.run(main())
