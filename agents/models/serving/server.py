"""A service of our own that speaks the OpenAI protocol, for any model: to rehearse, to test with.

It answers chat completions, responses, embeddings, batches of these and the list of models as real
services do, errors and rate-limit headers included, takes as long as it is told to, and shows the
faults that it is told to.
"""

import asyncio
import base64
import os
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType

import msgspec
from aiohttp import web

from agents.models.model import ChatModel, ChatReply, ChatRequest
from agents.models.remote.responses import encode_response
from agents.models.remote.wire import encode_chunks, encode_reply
from agents.models.serving.allowance import Quota
from agents.models.serving.answers import (
    Embedding,
    Embeddings,
    Offer,
    Offers,
    TextUsage,
    json_response,
)
from agents.models.serving.asked import AskedReply, AskedResponse, AskedVectors
from agents.models.serving.bodies import decoded, read_body
from agents.models.serving.connections import Bounds, Connections
from agents.models.serving.described import described
from agents.models.serving.desk import Desk, Unhurried
from agents.models.serving.faults import Draws, Faults, mangled, spoilt
from agents.models.serving.latency import Latency
from agents.models.serving.places import (
    BATCH,
    BATCHES,
    CANCEL,
    CHAT,
    CONTENT,
    DESCRIPTION,
    EMBEDDINGS,
    FILE,
    FILES,
    METHODS,
    MODEL,
    MODELS,
    RESPONSES,
    place_of,
)
from agents.models.serving.refusals import (
    DroppedConnectionError,
    RefusedRequestError,
    passed_on,
    refused_key,
    too_much,
    unknown_model,
)
from engine.chance import chance
from engine.errors import CallFailedError, ConfigError, ModelError

_BACKLOG = 4_096
_SHORT_BACKLOG = 128
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
    batches: Unhurried = field(default_factory=Unhurried)


class Server:
    """A service while it runs: `async with Server(model) as url:`, *url* as clients take it.

    *names* are the models it offers; all of them are *model*. *embed* makes vectors of texts.
    *bounds* are what clients may take of it. *outcomes* counts what calls met: `replied`, a status,
    a fault, or `gone` where the client went before it had asked.
    """

    def __init__(
        self,
        model: ChatModel,
        behaviour: Behaviour | None = None,
        *,
        names: Sequence[str] = ("embedded",),
        embed: Callable[[str], Sequence[float]] | None = None,
        bounds: Bounds | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.behaviour = behaviour = behaviour or Behaviour()
        self.outcomes: Counter[str] = Counter()
        self._model = model
        self._names = tuple(names)
        self._embed = embed
        self._bounds = bounds or Bounds()
        self._place = host, port
        self._clock = clock
        self._runner: web.ServerRunner | None = None
        self._born = clock()
        self._calls = 0
        self._draws = Draws(behaviour.faults.rates, behaviour.seed)
        self._latencies = chance(behaviour.seed, 0, 0, 0, "latency")
        self._quota = Quota(behaviour.requests_per_minute, behaviour.tokens_per_minute)
        self._desk = desk = Desk(self._line, self._bounds, behaviour.batches)
        self._answers = {
            CHAT: self._chat,
            RESPONSES: self._response,
            EMBEDDINGS: self._vectors,
            MODELS: self._list,
            MODEL: self._offer,
            DESCRIPTION: self._describe,
            FILES: desk.upload,
            FILE: desk.file,
            CONTENT: desk.content,
            BATCHES: desk.batches,
            BATCH: desk.batch,
            CANCEL: desk.cancel,
        }

    async def __aenter__(self) -> str:
        self._connections = Connections(self._answer, self._bounds)
        runner = web.ServerRunner(self._connections, shutdown_timeout=_LAST_WORD)
        await runner.setup()
        host, port = self._place
        # So many are taken at once, before any can be turned away.
        backlog = min(_BACKLOG, max(_SHORT_BACKLOG, self._bounds.connections))
        try:
            await web.TCPSite(runner, host, port, backlog=backlog).start()
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
        await self._desk.close()
        if self._runner is not None:
            await self._runner.cleanup()
            await self._connections.end()

    # -- what is asked

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._route(request)
        except RefusedRequestError as refusal:
            self.outcomes[refusal.outcome] += 1
            return refusal.response()
        except DroppedConnectionError as drop:
            self.outcomes[drop.outcome] += 1
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        place = place_of(request.method, request.path)
        if request.method == "OPTIONS":  # for which clients do not show a key
            return web.Response(status=204, headers={"Allow": ", ".join(METHODS[place])})
        self._check_key(request.headers)
        return await self._answers[place](request)

    def _check_key(self, headers: Mapping[str, str]) -> None:
        sent = headers.get("api-key") or headers.get("Authorization", "").removeprefix("Bearer ")
        if self.behaviour.key and sent != self.behaviour.key:
            raise refused_key()

    def _check_name(self, name: str) -> None:
        if name not in self._names:
            raise unknown_model(name)

    async def _list(self, request: web.BaseRequest) -> web.StreamResponse:
        return json_response(Offers(tuple(Offer(name) for name in self._names)))

    async def _offer(self, request: web.BaseRequest) -> web.StreamResponse:
        name = request.path.partition(MODEL)[2]
        self._check_name(name)
        return json_response(Offer(name))

    async def _describe(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=self._description, content_type="application/json")

    @cached_property
    def _description(self) -> bytes:
        """What the service says of itself: made once, since who asks may ask without end."""
        return msgspec.json.encode(described(self._names, keyed=bool(self.behaviour.key)))

    def _arrived(self) -> str:
        """Count a call; return the fault that it meets."""
        self._calls += 1
        return self._draws.next()

    # -- chat

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        fault = self._arrived()
        body = await read_body(request, self._bounds)
        model, streamed, reply = await self._replied(body, fault, AskedReply)
        del body  # it may be large
        headers = await self._counted(reply, fault)
        name, created = f"chatcmpl-{self._calls:08d}", int(time.time())
        kind = "text/event-stream" if streamed else "application/json"
        encode = encode_chunks if streamed else encode_reply
        body = encode(spoilt(reply, fault), name=name, model=model, created=created)
        return await self._deliver(request, body, headers, fault, kind)

    async def _response(self, request: web.BaseRequest) -> web.StreamResponse:
        fault = self._arrived()
        body = await read_body(request, self._bounds)
        model, _, reply = await self._replied(body, fault, AskedResponse)
        del body  # it may be large
        headers = await self._counted(reply, fault)
        answer = self._as_response(reply, fault, model)
        return await self._deliver(request, answer, headers, fault)

    def _as_response(self, reply: ChatReply, fault: str, model: str) -> bytes:
        name, created = f"resp_{self._calls:08d}", int(time.time())
        return encode_response(spoilt(reply, fault), name=name, model=model, created=created)

    async def _counted(self, reply: ChatReply, fault: str) -> dict[str, str]:
        """Count a reply and take time for it; return the headers that say what is left."""
        # Counted once it is answered: what it costs in tokens is known only then.
        headers = self._spend(reply.prompt_tokens + reply.completion_tokens)
        await self._take_time(fault)
        return headers

    async def _replied(
        self, body: bytes, fault: str, kind: type[AskedReply | AskedResponse]
    ) -> tuple[str, bool | None, ChatReply]:
        """Return a reply, and of what was asked as much as is still needed."""
        self._fail(fault)
        asked: AskedReply | AskedResponse = decoded(body, kind)
        self._check_name(asked.model)
        return asked.model, asked.stream, await self._reply(asked.request(body))

    def _fail(self, fault: str) -> None:
        faults = self.behaviour.faults
        if fault == "drop" or faults.out(self._clock() - self._born):
            raise DroppedConnectionError("drop")
        if faults.refuse_after is not None and self._calls > faults.refuse_after:
            raise refused_key()
        if fault == "error":
            raise RefusedRequestError(500, "The server had an error.", kind="server_error")
        if fault == "unavailable":
            raise RefusedRequestError(503, "The engine is overloaded.", kind="server_error")
        if fault == "no_room":
            raise RefusedRequestError(429, "Resource Unavailable", code="resource_unavailable")
        if fault == "rate_limit":
            raise too_much("requests", None, {})
        if fault == "rate_limit_told":
            raise too_much("requests", faults.retry_after, {})

    async def _reply(self, request: ChatRequest) -> ChatReply:
        try:
            return await self._model.reply(request)
        except CallFailedError as error:
            raise RefusedRequestError(400, str(error), code=error.kind) from error
        except ModelError as error:
            raise passed_on(error) from error

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
        fault = self._arrived()
        asked = self._asked_vectors(await read_body(request, self._bounds), fault)
        headers = self._spend(_text_tokens(asked))
        await self._take_time(fault)
        # Not before: vectors are a thousand times as large as what asks for them.
        return await self._deliver(request, self._made(asked), headers, fault)

    def _asked_vectors(self, body: bytes, fault: str) -> AskedVectors:
        self._fail(fault)
        asked = decoded(body, AskedVectors)
        self._check_name(asked.model)
        if self._embed is None:
            raise RefusedRequestError(404, "this service makes no embeddings")
        return asked

    def _made(self, asked: AskedVectors) -> bytes:
        """Return the answer with the vectors of texts."""
        embed = self._embed
        assert embed is not None  # or they were refused
        form = _packed if asked.encoding_format == "base64" else tuple
        tokens = _text_tokens(asked)
        answer = Embeddings(
            tuple(
                Embedding(index, form([float(number) for number in embed(text)]))
                for index, text in enumerate(asked.texts)
            ),
            model=asked.model,
            usage=TextUsage(prompt_tokens=tokens, total_tokens=tokens),
        )
        return msgspec.json.encode(answer)

    # -- a line of a batch

    async def _line(self, place: str, body: bytes) -> bytes:
        """Answer a call that came in a file: it counts against no limit a minute."""
        fault = self._arrived()
        try:
            answer = await self._said(place, body, fault)
        except (RefusedRequestError, DroppedConnectionError) as error:
            self.outcomes[error.outcome] += 1
            raise
        self.outcomes[fault or "replied"] += 1
        return mangled(answer, fault)

    async def _said(self, place: str, body: bytes, fault: str) -> bytes:
        if place == EMBEDDINGS:
            return self._made(self._asked_vectors(body, fault))
        if place == RESPONSES:
            model, _, reply = await self._replied(body, fault, AskedResponse)
            return self._as_response(reply, fault, model)
        model, _, reply = await self._replied(body, fault, AskedReply)
        name, created = f"chatcmpl-{self._calls:08d}", int(time.time())
        return encode_reply(spoilt(reply, fault), name=name, model=model, created=created)


def _text_tokens(asked: AskedVectors) -> int:
    return sum(len(text) for text in asked.texts) // 4


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
