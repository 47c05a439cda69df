"""Whatever goes wrong on the way to a batch and back: nothing hangs, and nothing is paid twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from agents.models.guards.batch import BatchPace, Errands
from agents.models.guards.batching import Batching
from agents.models.guards.quiet import Counted, Quiet
from agents.models.guards.retrying import Patience, Retrying
from agents.models.model import ChatMessage, ChatReply, ChatRequest, Sampling
from agents.models.remote.batches import Batches
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.deadlines import Timeouts
from agents.models.remote.service import Account
from agents.models.serving.server import Server
from engine.calls import Call
from engine.errors import ServiceError
from storage.batches import BatchFile, read_batches

CALLS = 4
STEPS = {
    "upload": ("POST", "/files"),
    "create": ("POST", "/batches"),
    "find": ("GET", "/batches"),
    "poll": ("GET", "/batches/"),
    "collect": ("GET", "/content"),
}
FAULTS = ("refused", "lost", "cut", "garbage", "empty", "500", "429", "silent")
LASTING = [
    (step, fault)
    for step in STEPS
    for fault in FAULTS
    if step != "create" or fault not in {"lost", "cut"}  # the batch is found by its file
]
QUICK = Timeouts(connect=5.0, first_byte=0.15, whole=0.3)


@dataclass
class Asked:
    """Counts what it is asked."""

    seeds: Counter[int] = field(default_factory=Counter)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.seeds[request.seed] += 1
        return ChatReply(text=f"reply {request.seed}", prompt_tokens=1, completion_tokens=1)


@dataclass
class Between:
    """Stands between a client and the service at *url*, and shows a *fault* at a *step* so often.

    What is `lost` is done all the same: only the answer does not come.
    """

    url: str
    step: str
    fault: str
    times: int
    met: int = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        method, place = STEPS[self.step]
        there = request.path.endswith(place) or (self.step == "poll" and place in request.path)
        if not (there and request.method == method and self.met < self.times):
            return await self._passed(request)
        self.met += 1
        return await self._spoilt(request)

    async def _passed(self, request: web.BaseRequest) -> web.Response:
        kind = request.headers.get("Content-Type", "")
        headers = {"Content-Type": kind} if kind else {}
        to = self.url + request.path_qs.removeprefix("/v1")
        body = await request.read()
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, to, data=body or None, headers=headers) as said,
        ):
            return web.Response(status=said.status, body=await said.read())

    async def _spoilt(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.fault in {"500", "429"}:
            return web.Response(status=int(self.fault), body=b"{}")
        if self.fault in {"garbage", "empty"}:
            return web.Response(body=b'{"said": [1,' if self.fault == "garbage" else b"")
        if self.fault in {"lost", "cut"}:
            passed = await self._passed(request)
            if self.fault == "cut":
                return await _half(request, passed)
        if self.fault == "silent":
            await asyncio.sleep(1.0)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


async def _half(request: web.BaseRequest, whole: web.Response) -> web.StreamResponse:
    assert isinstance(whole.body, bytes)
    response = web.StreamResponse()
    response.content_length = len(whole.body)
    await response.prepare(request)
    await response.write(whole.body[: len(whole.body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


@asynccontextmanager
async def standing(between: Between) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(between.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def request(user: int) -> ChatRequest:
    return ChatRequest(
        call=Call(0, user, 0, 0, "critic", 0),
        sampling=Sampling(model="embedded"),
        messages=(ChatMessage(role="user", content="How good?"),),
        seed=user,
    )


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


def met(
    step: str, fault: str, times: int, path: Path, model: Asked
) -> Sequence[ChatReply | BaseException]:
    """Return what came of some calls that went through one batch, or more."""

    async def main() -> Sequence[ChatReply | BaseException]:
        async with (
            Server(model) as there,
            standing(Between(there, step, fault, times)) as url,
            OpenAIModel(Account(key="k", url=url, timeouts=QUICK)) as remote,
        ):
            quiet, file = Quiet(), BatchFile(path / "batches.jsonl", "none")
            patience = Patience(attempts=3, first=0.0, longest=0.0)
            pace = BatchPace(wait=0.01, poll=0.01)
            batching = Batching(Errands(Batches(remote), file, pace, patience, no_pause), quiet)
            chain = Counted(Retrying(batching, patience, sleep=no_pause), quiet)
            try:
                calls = (chain.reply(request(user)) for user in range(CALLS))
                async with asyncio.timeout(30):
                    return await asyncio.gather(*calls, return_exceptions=True)
            finally:
                batching.close()
                file.close()

    return asyncio.run(main())


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_what_passes_leaves_no_mark(step: str, fault: str, tmp_path: Path) -> None:
    """Each call has its reply, and was paid for once."""
    model = Asked()
    ends = met(step, fault, 1, tmp_path, model)
    texts = [end.text for end in ends if isinstance(end, ChatReply)]
    assert texts == [f"reply {user}" for user in range(CALLS)]
    assert {*model.seeds.values()} == {1}


@pytest.mark.parametrize(("step", "fault"), LASTING)
def test_what_does_not_pass_stops_the_run(step: str, fault: str, tmp_path: Path) -> None:
    """With one sentence and a hint; what is known of the batch is on the disk, and paid once."""
    model = Asked()
    ends = met(step, fault, 10**6, tmp_path, model)
    assert all(isinstance(end, ServiceError) and end.hint for end in ends)
    assert set(model.seeds.values()) <= {1}
    assert len(read_batches(tmp_path / "batches.jsonl")[0]) == (step != "upload")
