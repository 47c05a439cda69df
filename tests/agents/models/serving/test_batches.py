"""Batches at the service of our own, asked by the official client as a stranger would."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import openai
import pytest
from openai.types import Batch

from agents.models.model import ChatReply, ChatRequest
from agents.models.serving.connections import Bounds
from agents.models.serving.desk import Unhurried
from agents.models.serving.faults import Faults
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


def test_embeddings_go_in_batches_too() -> None:
    async def main() -> None:
        async with stranger() as client:
            batch = await ended(client, await begun(client, line("a", url=VECTORS), VECTORS))
            replies = await lines_in(client, batch.output_file_id)
        assert replies["a"]["response"]["body"]["data"][0]["embedding"] == [3, 4]

    asyncio.run(main())


def test_faults_are_those_of_lines() -> None:
    """Some calls of a batch fail, each with its own error; the batch is completed."""

    async def main() -> None:
        faults = Faults(rates={"error": 0.3, "drop": 0.3})
        calls = b"".join(line(str(number)) for number in range(40))
        async with stranger(Behaviour(faults=faults)) as client:
            batch = await ended(client, await begun(client, calls))
            good = await lines_in(client, batch.output_file_id)
            bad = await lines_in(client, batch.error_file_id)
        assert batch.status == "completed"
        assert batch.request_counts is not None
        assert batch.request_counts.failed == len(bad)
        assert good.keys() | bad.keys() == {str(number) for number in range(40)}
        codes = {(one["response"] or {}).get("status_code") for one in bad.values()}
        assert codes == {500, None}

    asyncio.run(main())


def test_a_batch_may_expire_half_way() -> None:
    """What was answered is there, and the rest is said to be undone."""

    async def main() -> None:
        async with stranger(Behaviour(batches=Unhurried(expire_after=1))) as client:
            batch = await ended(client, await begun(client, line("a") + line("b")))
            bad = await lines_in(client, batch.error_file_id)
            assert [*await lines_in(client, batch.output_file_id)] == ["a"]
        assert batch.status == "expired"
        assert bad["b"]["error"]["code"] == "batch_expired"

    asyncio.run(main())


def test_a_batch_may_be_cancelled() -> None:
    async def main() -> None:
        async with stranger(Behaviour(batches=Unhurried(delay=0.05))) as client:
            batch = await client.batches.cancel((await begun(client, line("a"))).id)
            assert batch.status == "cancelling"
            batch = await ended(client, batch)
            assert batch.status == "cancelled"
            bad = await lines_in(client, batch.error_file_id)
        assert bad["a"]["error"]["code"] == "batch_cancelled"

    asyncio.run(main())


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b"\xff\n", line("a") + line("a"), line("a", url=VECTORS), line("a" * 65)],
)
def test_a_file_that_is_wrong_fails_its_batch(content: bytes) -> None:
    """With the number of the line, and before anything is answered."""

    async def main() -> None:
        async with stranger() as client:
            batch = await begun(client, content)
        assert batch.status == "failed"
        assert batch.errors is not None
        assert batch.errors.data

    asyncio.run(main())


def test_batches_are_listed_newest_first() -> None:
    async def main() -> None:
        async with stranger() as client:
            names = [(await begun(client, line("a"))).id for _ in range(3)]
            page = await client.batches.list(limit=2)
            assert [one.id for one in page.data] == names[:0:-1]
            assert [one.id async for one in client.batches.list(limit=1)] == names[::-1]

    asyncio.run(main())


def test_files_are_kept_within_bounds() -> None:
    """The oldest make room; one that is too big is refused, and so is one batch too many."""

    async def main() -> None:
        bounds = Bounds(file=1_000, kept=1_000, batches=1)
        patient = Behaviour(batches=Unhurried(delay=60))
        async with stranger(patient, bounds) as client:
            old = await client.files.create(file=("a", b"x" * 600), purpose="batch")
            await client.files.create(file=("b", b"y" * 600), purpose="batch")
            with pytest.raises(openai.NotFoundError):
                await client.files.content(old.id)
            with pytest.raises(openai.APIStatusError) as caught:
                await client.files.create(file=("c", b"z" * 1_001), purpose="batch")
            assert caught.value.status_code == 413
            await begun(client, line("a"))
            with pytest.raises(openai.InternalServerError, match="too many batches"):
                await begun(client, line("b"))

    asyncio.run(main())


@pytest.mark.parametrize("purpose", ["assistants", "batch_output"])
def test_other_files_are_refused(purpose: Literal["assistants", "batch_output"]) -> None:
    async def main() -> None:
        async with stranger() as client:
            with pytest.raises(openai.BadRequestError, match="purpose batch"):
                await client.post(
                    "/files",
                    files={"file": ("a", b"x")},
                    body={"purpose": purpose},
                    options={"headers": {"Content-Type": "multipart/form-data"}},
                    cast_to=object,
                )

    asyncio.run(main())


def test_a_batch_of_nothing_is_refused() -> None:
    """Neither a file nor a batch that is not there is found."""

    async def main() -> None:
        async with stranger() as client:
            for ask in (
                client.batches.create(
                    input_file_id="file-0", endpoint=CHAT, completion_window="24h"
                ),
                client.batches.retrieve("batch_0"),
                client.batches.cancel("batch_0"),
                client.files.retrieve("file-0"),
            ):
                with pytest.raises(openai.NotFoundError):
                    await ask

    asyncio.run(main())
