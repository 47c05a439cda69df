"""The OpenAI protocol's bytes: chat requests and replies, read and written by both ends."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from agents.models.model import ChatMessage, ChatReply, ChatRequest
from agents.models.remote.bounded import (
    Tokens,
    decoded,
    entries,
    loosely,
    malformed,
    member,
    text_of,
    tokens_of,
)
from agents.models.remote.headers import rates


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
    service_tier: str | None = None


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """What a model can be told; reasoning models are told less.

    *max_tokens* is the name of that field; *tier* is what is asked for, if anything is.
    """

    temperature: bool = True
    seed: bool = True
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    tier: str = ""

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
_LONGEST_REASON = 64  # characters of why a reply ended


def dialect_of(model: str) -> Dialect:
    """Return the dialect that the name of *model* suggests."""
    # Services that offer models of many makers put these before the name.
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
            service_tier=dialect.tier or None,
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
    prompt_tokens: Tokens = 0
    completion_tokens: Tokens = 0


class Completion(msgspec.Struct, frozen=True):
    """A chat reply on the wire: what we read of it."""

    choices: tuple[_Choice, ...]
    usage: _Usage | None = None


def decode_reply(body: bytes, headers: Mapping[str, str]) -> ChatReply:
    """Return the reply in *body*, as valid UTF-8; raises TransientError (`malformed`).

    A reply is kept whatever stands beside it: what is odd and not needed counts as not said.
    """
    completion = decoded(_decode, body) or _read_loosely(body)
    if not completion.choices:
        raise malformed("answered without a choice")
    choice = completion.choices[0]
    usage = completion.usage or _Usage()
    text = choice.message.content
    return ChatReply(
        text=(choice.message.refusal or "") if text is None else text,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        finish=_finish(choice.finish_reason),
        rates=rates(headers),
    )


def _finish(reason: str | None) -> str:
    return reason if reason and len(reason) <= _LONGEST_REASON and reason.isprintable() else "stop"


def _read_loosely(body: bytes) -> Completion:
    """Read what is no completion to the letter."""
    said = loosely(body)
    choice = next(iter(entries(member(said, "choices"))), None)
    message = member(choice, "message")
    if not isinstance(message, dict):
        raise malformed("answered without a choice")
    usage = member(said, "usage")
    return Completion(
        choices=(
            _Choice(
                message=_Message(
                    content=_content(message.get("content")),
                    refusal=text_of(message.get("refusal")),
                ),
                finish_reason=text_of(member(choice, "finish_reason")),
            ),
        ),
        usage=_Usage(
            prompt_tokens=tokens_of(member(usage, "prompt_tokens")),
            completion_tokens=tokens_of(member(usage, "completion_tokens")),
        ),
    )


def _content(said: object) -> str | None:
    """Return a message's text, be it in parts; raises TransientError for what is none."""
    if said is None or isinstance(said, str):
        return text_of(said)
    parts = said if isinstance(said, list) else [said]
    texts = [_part(part) for part in parts]
    if parts and all(text is None for text in texts):
        raise malformed("answered without a text")
    return "".join(text for text in texts if text is not None)


_TEXTUAL = (None, "text", "output_text")  # no set: what is asked of it may be anything


def _part(part: object) -> str | None:
    if isinstance(part, str):
        return text_of(part)
    kind = member(part, "type")
    return text_of(member(part, "text")) if kind in _TEXTUAL else None


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


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Completion).decode
