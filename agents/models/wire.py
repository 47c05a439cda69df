"""The OpenAI protocol's bytes: chat requests and replies, read and written by both ends."""

import json
from collections.abc import Mapping
from typing import Literal

import msgspec

from agents.models.headers import rates
from agents.models.model import ChatMessage, ChatReply, ChatRequest, TransientError


class JsonSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A schema that replies are to follow."""

    name: str
    schema: msgspec.Raw
    strict: bool = True


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The form that replies are to have."""

    type: Literal["json_schema", "json_object", "text"]
    json_schema: JsonSchema | None = None


class ChatBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A chat request on the wire, as we write it."""

    model: str
    messages: tuple[ChatMessage, ...]
    seed: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    response_format: ResponseFormat | None = None


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """What a model can be told; reasoning models are told less.

    *max_tokens* is the name of that field.
    """

    temperature: bool = True
    seed: bool = True
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    def without(self, param: str | None) -> "Dialect | None":
        """Return the dialect of a model that refuses *param*, None if it is no part of this one."""
        if param == "temperature" and self.temperature:
            return msgspec.structs.replace(self, temperature=False)
        if param == "max_tokens" and self.max_tokens == "max_tokens":
            return msgspec.structs.replace(self, max_tokens="max_completion_tokens")
        if param == "max_completion_tokens" and self.max_tokens == param:
            return msgspec.structs.replace(self, max_tokens="max_tokens")
        if param == "seed" and self.seed:
            return msgspec.structs.replace(self, seed=False)
        return None


PLAIN = Dialect()
REASONING = Dialect(temperature=False, max_tokens="max_completion_tokens")
_REASONING_NAMES = ("o1", "o3", "o4", "gpt-5")


def dialect_of(model: str) -> Dialect:
    """Return the dialect that the name of *model* suggests."""
    name = model.rpartition("/")[2]
    return REASONING if name.startswith(_REASONING_NAMES) else PLAIN


def encode_request(request: ChatRequest, dialect: Dialect = PLAIN) -> bytes:
    """Return the body of a chat request."""
    sampling = request.sampling
    plain = dialect.max_tokens == "max_tokens"
    return _encode(
        ChatBody(
            model=sampling.model,
            messages=request.messages,
            seed=request.seed if dialect.seed else None,
            temperature=sampling.temperature if dialect.temperature else None,
            max_tokens=sampling.max_tokens if plain else None,
            max_completion_tokens=None if plain else sampling.max_tokens,
            response_format=_format(request.schema) if request.schema else None,
        )
    )


def _format(schema: str) -> ResponseFormat:
    wanted = JsonSchema(name="reply", schema=msgspec.Raw(schema.encode()))
    return ResponseFormat(type="json_schema", json_schema=wanted)


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Message
    finish_reason: str | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Completion(msgspec.Struct, frozen=True):
    """A chat reply on the wire: what we read of it."""

    choices: tuple[_Choice, ...]
    usage: _Usage | None = None


def decode_reply(body: bytes, headers: Mapping[str, str]) -> ChatReply:
    """Return the reply in *body*, as valid UTF-8; raises TransientError (`malformed`)."""
    try:
        completion = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        completion = _decode_leniently(body)
    if not completion.choices:
        raise TransientError("the service answered without a choice", kind="malformed")
    choice = completion.choices[0]
    usage = completion.usage or _Usage()
    text = choice.message.content
    return ChatReply(
        text=(choice.message.refusal or "") if text is None else text,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        finish=choice.finish_reason or "stop",
        rates=rates(headers),
    )


def encode_reply(reply: ChatReply, *, name: str, model: str, created: int) -> bytes:
    """Return the body of a chat reply, in full; *name* is what the service calls it."""
    usage = {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }
    message = {"role": "assistant", "content": reply.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish}
    head = _head("chat.completion", name, model, created)
    return _encode(head | {"choices": [choice], "usage": usage})


def encode_chunks(reply: ChatReply, *, name: str, model: str, created: int) -> bytes:
    """Return the events of a chat reply that is streamed, all of its text in one."""
    head = _head("chat.completion.chunk", name, model, created)
    said = {"role": "assistant", "content": reply.text}
    choices: list[dict[str, object]] = [
        {"index": 0, "delta": said, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": reply.finish},
    ]
    events = [_encode(head | {"choices": [choice]}) for choice in choices]
    return b"".join(b"data: %b\n\n" % event for event in [*events, b"[DONE]"])


def _head(kind: str, name: str, model: str, created: int) -> dict[str, object]:
    return {"id": name, "object": kind, "created": created, "model": model}


def _decode_leniently(body: bytes) -> Completion:
    """Read what is no valid UTF-8, escaped surrogates included; U+FFFD stands in their place."""
    try:
        text = json.dumps(json.loads(body.decode("utf-8", "replace")), ensure_ascii=False)
        return _decode(valid(text).encode())
    except ValueError as error:
        raise TransientError("the service answered no valid JSON", kind="malformed") from error


def valid(text: str) -> str:
    """Return *text* with surrogates in pairs joined and lone ones replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Completion).decode
