"""The Responses API, against a service of our own and against whatever else may come."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from agents.models.model import ChatReply, ChatRequest, TransientError
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.responses import cut_unsaid, decode_response, encode_response
from agents.models.remote.service import Account
from agents.models.serving.faults import Faults
from agents.models.serving.server import Behaviour, Server
from engine.errors import CallFailedError, ServiceError
from tests.agents.models.remote.test_chat import KEY, SCHEMA, Echo, request
from tests.support.answering import answering
from tests.support.drawn import TEXTS


@asynccontextmanager
async def serving(behaviour: Behaviour) -> AsyncIterator[OpenAIModel]:
    async with (
        Server(Echo(), behaviour) as url,
        OpenAIModel(Account(key=KEY, url=url, api="responses")) as model,
    ):
        yield model


def replied(asked: ChatRequest, **faults: float) -> ChatReply:
    async def main() -> ChatReply:
        async with serving(Behaviour(faults=Faults(rates=faults))) as service:
            return await service.reply(asked)

    return asyncio.run(main())


class Refusing:
    async def reply(self, asked: ChatRequest) -> ChatReply:
        return ChatReply(text="No.", prompt_tokens=30, completion_tokens=2, finish="refusal")


@pytest.mark.parametrize("schema", ["", SCHEMA])
def test_service_sees_the_very_same_request(schema: str) -> None:
    """As by chat: what decides a reply arrives as it is."""
    asked = request(text="Grüße – 東京 \u2028", schema=schema)
    assert replied(asked).text == asked.digest


def test_tokens_and_ends_come_back() -> None:
    whole = replied(request())
    assert (whole.prompt_tokens, whole.completion_tokens, whole.finish) == (30, 8, "stop")
    assert replied(request(), length=1).finish == "length"


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_refusals_survive_the_wire(api: Any) -> None:
    async def main() -> ChatReply:
        async with (
            Server(Refusing()) as url,
            OpenAIModel(Account(key=KEY, url=url, api=api)) as model,
        ):
            return await model.reply(request())

    reply = asyncio.run(main())
    assert (reply.text, reply.finish) == ("No.", "refusal")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("rate_limit_told", "rate_limit"),
        ("unavailable", "server"),
        ("drop", "connection"),
        ("cut", "connection"),
        ("truncated", "malformed"),
        ("wrong", "malformed"),
        ("empty", "malformed"),
    ],
)
def test_faults_that_may_pass(fault: str, kind: str) -> None:
    with pytest.raises(TransientError) as caught:
        replied(request(), **{fault: 1.0})
    assert caught.value.kind == kind


def test_withheld_reply_fails_its_call() -> None:
    with pytest.raises(CallFailedError) as caught:
        replied(request(), filter=1.0)
    assert caught.value.kind == "content_filter"


def test_service_without_it_is_one_sentence() -> None:
    async def answer(asked: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"detail": "Not Found"}, status=404)

    async def main() -> None:
        async with (
            answering(answer) as url,
            OpenAIModel(Account(key=KEY, url=url, api="responses")) as model,
        ):
            await model.reply(request())

    with pytest.raises(ServiceError, match="has no Responses API: 404") as caught:
        asyncio.run(main())
    assert "api=chat" in caught.value.hint


def outcome(body: bytes) -> ChatReply | str:
    """Return the reply in *body*, or of which kind its failure is."""
    try:
        return decode_response(body, {})
    except TransientError as error:
        return error.kind


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)
_PARTS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["output_text", "refusal"]) | _JSON, "text": TEXTS | _JSON}
    )
    | _JSON
)
_ITEMS = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["message", "reasoning"]), "content": _PARTS})
    | _JSON
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "output": _ITEMS | _JSON,
            "status": st.sampled_from(["completed", "incomplete", "failed"]) | _JSON,
            "incomplete_details": _JSON,
            "usage": st.fixed_dictionaries({}, optional={"input_tokens": _JSON}) | _JSON,
        },
    )
)
def test_whatever_comes_is_a_reply_or_may_pass(body: dict[str, Any]) -> None:
    read = outcome(json.dumps(body).encode())
    if isinstance(read, ChatReply):
        assert read.text.encode().decode() == read.text
        assert read.prompt_tokens >= read.cached_tokens >= 0
    else:
        assert read in {"malformed", "server"}


@given(
    st.builds(
        ChatReply,
        text=TEXTS,
        prompt_tokens=st.just(90),
        completion_tokens=st.just(80),
        finish=st.sampled_from(["stop", "refusal", "content_filter"]),
        cached_tokens=st.integers(0, 90),
        reasoning_tokens=st.integers(0, 80),
    )
)
def test_replies_survive_the_wire(reply: ChatReply) -> None:
    body = encode_response(reply, name="r", model="m", created=0)
    assert decode_response(body, {}) == reply


@pytest.mark.parametrize(("most", "finish"), [(None, "stop"), (9, "stop"), (8, "length")])
def test_a_reply_that_fills_its_room_was_cut_off(most: int | None, finish: str) -> None:
    """Where a service does not tell."""
    reply = ChatReply(text="half of", prompt_tokens=3, completion_tokens=8)
    assert cut_unsaid(reply, most).finish == finish
