"""The OpenAI protocol's bytes: chat requests and replies, read and written by both ends."""

from collections.abc import Mapping
from typing import Any

import msgspec

from agents.models.model import REFUSAL, ChatReply, ChatRequest
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
from agents.models.remote.dialects import PLAIN, Dialect, effort_fields, most_tokens, room
from agents.models.remote.endings import ended, finish_of, spoken
from agents.models.remote.forms import form_fields
from agents.models.remote.headers import rates

STOP = ("\n## ",)
"""What ends replies in words: some models go on with the next section of the prompt."""


class Sent(msgspec.Struct, frozen=True):
    """A message on the wire, as we write it."""

    role: str
    content: str


class ChatBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A chat request on the wire, as we write it."""

    model: str
    messages: tuple[Sent, ...]
    seed: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    prompt_cache_key: str | None = None
    response_format: dict[str, Any] | None = None
    grammar: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    service_tier: str | None = None
    reasoning_effort: str | None = None
    reasoning: dict[str, str] | None = None
    chat_template_kwargs: dict[str, str | bool] | None = None


def encode_request(request: ChatRequest, dialect: Dialect = PLAIN) -> bytes:
    """Return the body of a chat request."""
    sampling = request.sampling
    plain, most = dialect.max_tokens == "max_tokens", most_tokens(sampling, dialect)
    # What a model thinks aloud may have such lines, too.
    stops = dialect.stop and not request.schema and not room(sampling, dialect)
    return _encode(
        ChatBody(
            model=sampling.model,
            messages=tuple(
                Sent(dialect.instructor if one.role == "system" else one.role, one.content)
                for one in request.messages
            ),
            seed=request.seed if dialect.seed else None,
            temperature=sampling.temperature if dialect.temperature else None,
            max_tokens=most if plain else None,
            max_completion_tokens=None if plain else most,
            stop=STOP if stops else None,
            prompt_cache_key=cache_key(request) if dialect.cache_key else None,
            service_tier=dialect.tier or None,
            **(form_fields(request.schema, dialect.form) if request.schema else {}),
            **effort_fields(sampling.effort, dialect),
        )
    )


def cache_key(request: ChatRequest) -> str:
    """Return what calls share that begin alike: the role, and the user whose history comes next."""
    return f"billp-{request.call.role}-{request.call.user}"


class _Function(msgspec.Struct, frozen=True):
    arguments: str


class _ToolCall(msgspec.Struct, frozen=True):
    function: _Function


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    tool_calls: tuple[_ToolCall, ...] | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Message
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: Tokens | None = 0
    cache_write_tokens: Tokens | None = 0


class _CompletionDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: Tokens | None = 0


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: Tokens = 0
    completion_tokens: Tokens = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    # As others say it: DeepSeek, and proxies of Anthropic's.
    prompt_cache_hit_tokens: Tokens | None = 0
    cache_read_input_tokens: Tokens | None = 0
    cache_creation_input_tokens: Tokens | None = 0

    @property
    def cached(self) -> int:
        said = self.prompt_tokens_details
        named = (said.cached_tokens if said else 0, self.prompt_cache_hit_tokens)
        return max(number or 0 for number in (*named, self.cache_read_input_tokens))

    @property
    def written(self) -> int:
        said = self.prompt_tokens_details
        return max(
            (said.cache_write_tokens or 0) if said else 0, self.cache_creation_input_tokens or 0
        )

    @property
    def reasoning(self) -> int:
        said = self.completion_tokens_details
        return (said.reasoning_tokens or 0) if said else 0


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
    text, refused = _text(choice.message)
    text, finish = ended(text, finish_of(choice.finish_reason, refused=refused))
    return ChatReply(
        text=text,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        finish=finish,
        cached_tokens=min(usage.cached, usage.prompt_tokens),
        written_tokens=min(usage.written, usage.prompt_tokens),
        reasoning_tokens=min(usage.reasoning, usage.completion_tokens),
        rates=rates(headers),
    )


def _text(message: _Message) -> tuple[str, bool]:
    """Return what a message says, and whether that is a refusal; calls of tools say something."""
    called = message.tool_calls or ()
    if called and not message.content:
        return called[0].function.arguments, False
    if message.refusal and not message.content:
        return message.refusal, True
    return spoken(message.content or ""), False


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
                    tool_calls=_called(message.get("tool_calls")),
                ),
                finish_reason=text_of(member(choice, "finish_reason")),
            ),
        ),
        usage=_Usage(
            prompt_tokens=tokens_of(member(usage, "prompt_tokens")),
            completion_tokens=tokens_of(member(usage, "completion_tokens")),
            prompt_tokens_details=_PromptDetails(
                tokens_of(member(member(usage, "prompt_tokens_details"), "cached_tokens")),
                tokens_of(member(member(usage, "prompt_tokens_details"), "cache_write_tokens")),
            ),
            completion_tokens_details=_CompletionDetails(
                tokens_of(member(member(usage, "completion_tokens_details"), "reasoning_tokens"))
            ),
            prompt_cache_hit_tokens=tokens_of(member(usage, "prompt_cache_hit_tokens")),
            cache_read_input_tokens=tokens_of(member(usage, "cache_read_input_tokens")),
            cache_creation_input_tokens=tokens_of(member(usage, "cache_creation_input_tokens")),
        ),
    )


def _called(said: object) -> tuple[_ToolCall, ...]:
    """Return the calls of tools in a message, as far as they are some."""
    texts = (text_of(member(member(one, "function"), "arguments")) for one in entries(said))
    return tuple(_ToolCall(_Function(text)) for text in texts if text is not None)


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
    usage: dict[str, object] = {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }
    if reply.cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": reply.cached_tokens}
    if reply.reasoning_tokens:
        usage["completion_tokens_details"] = {"reasoning_tokens": reply.reasoning_tokens}
    content, refusal, finish = _parted(reply)
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    head = _head("chat.completion", name, model, created)
    return _encode(head | {"choices": [choice], "usage": usage})


def _parted(reply: ChatReply) -> tuple[str | None, str | None, str]:
    """Return what is said, what is refused, and why that ended."""
    if reply.finish == REFUSAL:
        return None, reply.text, "stop"
    return reply.text, None, reply.finish


def encode_chunks(reply: ChatReply, *, name: str, model: str, created: int) -> bytes:
    """Return the events of a chat reply that is streamed, all of its text in one."""
    head = _head("chat.completion.chunk", name, model, created)
    content, refusal, finish = _parted(reply)
    said: dict[str, object] = {"role": "assistant", "content": content}
    if refusal is not None:
        said["refusal"] = refusal
    choices: list[dict[str, object]] = [
        {"index": 0, "delta": said, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": finish},
    ]
    events = [_encode(head | {"choices": [choice]}) for choice in choices]
    return b"".join(b"data: %b\n\n" % event for event in [*events, b"[DONE]"])


def _head(kind: str, name: str, model: str, created: int) -> dict[str, object]:
    return {"id": name, "object": kind, "created": created, "model": model}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Completion).decode
