"""A service of our own that speaks the OpenAI protocol, for any model: to rehearse, to test with.

It answers chat completions, embeddings and the list of models as real services do, errors and
rate-limit headers included, takes as long as it is told to, and shows the faults it is told to.
"""

import asyncio
import base64
import os
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

import msgspec
from aiohttp import web

from agents.models.allowance import Quota
from agents.models.asked import AskedReply, AskedVectors
from agents.models.faults import Draws, Faults, mangled, spoilt
from agents.models.latency import Latency
from agents.models.model import ChatModel, ChatReply, ChatRequest
from agents.models.refusals import (
    DroppedConnectionError,
    RefusedRequestError,
    json_response,
    refused_key,
    too_much,
    unknown_model,
)
from agents.models.wire import encode_chunks, encode_reply
from engine.chance import chance
from engine.errors import CallFailedError, ConfigError

T = TypeVar("T")

_BACKLOG = 4_096
_LAST_WORD = 0.1  # seconds that calls get to end when the server closes


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How the service behaves. *key* is the only one it takes, if there is one.

    *seed* decides latencies and faults, call by call in the order of arrival.
    """

    latency: Latency = field(default_factory=Latency)
    faults: Faults = field(default_factory=Faults)
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    key: str = field(default="", repr=False)
    seed: int = 0


class Server:
    """A service while it runs: `async with Server(model) as url:`, *url* as clients take it.

    *names* are the models it offers; all of them are *model*. *embed* makes vectors of texts.
    *outcomes* counts what calls met: `replied`, a status, or a fault.
    """

    def __init__(
        self,
        model: ChatModel,
        behaviour: Behaviour | None = None,
        *,
        names: Sequence[str] = ("embedded",),
        embed: Callable[[str], Sequence[float]] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.behaviour = behaviour = behaviour or Behaviour()
        self.outcomes: Counter[str] = Counter()
        self._model = model
        self._names = tuple(names)
        self._embed = embed
        self._place = host, port
        self._clock = clock
        self._runner: web.ServerRunner | None = None
        self._born = clock()
        self._calls = 0
        self._draws = Draws(behaviour.faults.rates, behaviour.seed)
        self._latencies = chance(behaviour.seed, 0, 0, 0, "latency")
        self._quota = Quota(behaviour.requests_per_minute, behaviour.tokens_per_minute)

    async def __aenter__(self) -> str:
        runner = web.ServerRunner(
            web.Server(self._answer, access_log=None), shutdown_timeout=_LAST_WORD
        )
        await runner.setup()
        host, port = self._place
        try:
            await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(
                f"cannot serve on {host}:{port}: {_reason(error)}",
                hint="--port 0 takes a free one",
            ) from error
        self._runner = runner
        self._born = self._clock()
        return f"http://{host}:{runner.addresses[0][1]}/v1"

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    # -- what is asked

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._route(request)
        except RefusedRequestError as refusal:
            self.outcomes[refusal.outcome] += 1
            return refusal.response()
        except DroppedConnectionError:
            self.outcomes["drop"] += 1
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        self._check_key(request.headers)
        path, method = request.path, request.method
        if method == "POST" and path.endswith("/chat/completions"):
            return await self._chat(request)
        if method == "POST" and path.endswith("/embeddings"):
            return await self._vectors(request)
        if method == "GET" and path.endswith("/models"):
            return self._list()
        raise RefusedRequestError(404, f"Invalid URL ({method} {path})")

    def _check_key(self, headers: Mapping[str, str]) -> None:
        sent = headers.get("api-key") or headers.get("Authorization", "").removeprefix("Bearer ")
        if self.behaviour.key and sent != self.behaviour.key:
            raise refused_key()

    def _read(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RefusedRequestError(400, str(error)) from error

    def _check_name(self, name: str) -> None:
        if name not in self._names:
            raise unknown_model(name)

    def _list(self) -> web.Response:
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "billp"}
            for name in self._names
        ]
        return json_response({"object": "list", "data": models})

    # -- chat

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        self._calls += 1
        fault = self._draws.next()
        body = await request.read()
        self._fail(fault)
        asked = self._read(body, AskedReply)
        self._check_name(asked.model)
        if not asked.messages or (asked.n or 1) != 1:
            raise RefusedRequestError(400, "expected at least one message and n = 1")
        reply = await self._reply(asked.request(body))
        headers = self._spend(reply.prompt_tokens + reply.completion_tokens)
        await self._take_time(fault)
        return await self._send(request, asked, spoilt(reply, fault), headers, fault)

    def _fail(self, fault: str) -> None:
        faults = self.behaviour.faults
        if fault == "drop" or faults.out(self._clock() - self._born):
            raise DroppedConnectionError
        if faults.refuse_after is not None and self._calls > faults.refuse_after:
            raise refused_key()
        if fault == "error":
            raise RefusedRequestError(500, "The server had an error.", kind="server_error")
        if fault == "unavailable":
            raise RefusedRequestError(503, "The engine is overloaded.", kind="server_error")
        if fault == "rate_limit":
            raise too_much("requests", None, {})
        if fault == "rate_limit_told":
            raise too_much("requests", faults.retry_after, {})

    async def _reply(self, request: ChatRequest) -> ChatReply:
        try:
            return await self._model.reply(request)
        except CallFailedError as error:
            raise RefusedRequestError(400, str(error), code=error.kind) from error

    def _spend(self, tokens: int) -> dict[str, str]:
        """Count a call against the limits and return the headers that say what is left."""
        now = self._clock()
        lack = self._quota.spend(1, tokens, now)
        headers = self._quota.headers(now)
        if lack is not None:
            raise too_much(*lack, headers)
        return headers

    async def _take_time(self, fault: str) -> None:
        duration = self.behaviour.latency.draw(self._latencies)
        if fault == "slow":
            duration += self.behaviour.faults.slow
        if duration:
            await asyncio.sleep(duration)

    async def _send(
        self,
        request: web.BaseRequest,
        asked: AskedReply,
        reply: ChatReply,
        headers: Mapping[str, str],
        fault: str,
    ) -> web.StreamResponse:
        name, created = f"chatcmpl-{self._calls:08d}", int(time.time())
        kind = "text/event-stream" if asked.stream else "application/json"
        encode = encode_chunks if asked.stream else encode_reply
        body = encode(reply, name=name, model=asked.model, created=created)
        return await self._deliver(request, body, headers, fault, kind)

    async def _deliver(
        self,
        request: web.BaseRequest,
        body: bytes,
        headers: Mapping[str, str],
        fault: str,
        kind: str = "application/json",
    ) -> web.StreamResponse:
        self.outcomes[fault or "replied"] += 1
        body = mangled(body, fault)
        if fault == "cut":
            return await _cut_short(request, body)
        return web.Response(body=body, content_type=kind, headers=headers)

    # -- embeddings

    async def _vectors(self, request: web.BaseRequest) -> web.StreamResponse:
        self._calls += 1
        fault = self._draws.next()
        body = await request.read()
        self._fail(fault)
        asked = self._read(body, AskedVectors)
        self._check_name(asked.model)
        if self._embed is None:
            raise RefusedRequestError(404, "this service makes no embeddings")
        vectors = [[float(number) for number in self._embed(text)] for text in asked.texts]
        form = _packed if asked.encoding_format == "base64" else list
        data = [
            {"object": "embedding", "index": index, "embedding": form(vector)}
            for index, vector in enumerate(vectors)
        ]
        tokens = sum(len(text) for text in asked.texts) // 4
        headers = self._spend(tokens)
        await self._take_time(fault)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "data": data, "model": asked.model, "usage": usage}
        return await self._deliver(request, msgspec.json.encode(answer), headers, fault)


def _reason(error: OSError) -> str:
    # asyncio puts a whole sentence in place of what the system says.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error.strerror).lower()


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


async def _cut_short(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
