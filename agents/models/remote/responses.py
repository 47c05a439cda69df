"""The Responses API's bytes: requests and replies, read and written by both ends.

https://platform.openai.com/docs/api-reference/responses. Nothing is kept by the service (`store`),
and no call builds on another. It has no seed; services that take one all the same are told ours.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agents.models.model import CUT, REFUSAL, ChatMessage, ChatReply, ChatRequest, TransientError
from agents.models.remote.bounded import entries, loosely, malformed, member, text_of, tokens_of
from agents.models.remote.dialects import PLAIN, Dialect, effort_fields, most_tokens
from agents.models.remote.endings import ended, finish_of, spoken
from agents.models.remote.forms import TOOL, Form, form_fields
from agents.models.remote.headers import rates
from agents.models.remote.wire import Sent, cache_key
from agents.settings import Effort

CUT_OFF: Final = "max_output_tokens"
"""What a reply is called that came to its length."""

_SAYING = ("message", "function_call")  # all else is what led to it


class ResponseBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request on the wire, as we write it."""

    model: str
    input: tuple[Sent, ...]
    store: bool
    instructions: str | None = None
    seed: int | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    prompt_cache_key: str | None = None
    reasoning: dict[str, str] | None = None
    chat_template_kwargs: dict[str, str | bool] | None = None
    text: dict[str, Any] | None = None
    grammar: str | None = None
    service_tier: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, str] | None = None


def encode_response_request(request: ChatRequest, dialect: Dialect = PLAIN) -> bytes:
    """Return the body of a request: what stands first in the system's role are instructions."""
    sampling = request.sampling
    instructions, messages = _parted(request.messages)
    return _encode(
        ResponseBody(
            model=sampling.model,
            input=tuple(
                Sent(dialect.instructor if one.role == "system" else one.role, one.content)
                for one in messages
            ),
            store=False,
            instructions=instructions,
            seed=request.seed if dialect.seed else None,
            temperature=sampling.temperature if dialect.temperature else None,
            max_output_tokens=most_tokens(sampling, dialect),
            prompt_cache_key=cache_key(request) if dialect.cache_key else None,
            service_tier=dialect.tier or None,
            **_effort_fields(request.sampling.effort, dialect),
            **(_form_fields(request.schema, dialect.form) if request.schema else {}),
        )
    )


def _parted(messages: tuple[ChatMessage, ...]) -> tuple[str | None, tuple[ChatMessage, ...]]:
    # Something has to be asked: instructions alone are no request.
    if len(messages) > 1 and messages[0].role == "system":
        return messages[0].content, messages[1:]
    return None, messages


def _effort_fields(effort: Effort | msgspec.UnsetType, dialect: Dialect) -> dict[str, Any]:
    fields = effort_fields(effort, dialect)
    said = fields.pop("reasoning_effort", None)
    return fields if said is None else {"reasoning": {"effort": said}}


def _form_fields(schema: str, form: Form) -> dict[str, Any]:
    """Return the fields that ask for a reply that follows *schema*: those of chat, one level up."""
    if form == "json_schema":
        named = {"type": form, "name": "reply", "schema": msgspec.Raw(schema.encode())}
        return {"text": {"format": {**named, "strict": True}}}
    if form == "json_object":
        return {"text": {"format": {"type": form}}}
    if form == "tool":
        tool = {"type": "function", "name": TOOL, "parameters": msgspec.Raw(schema.encode())}
        return {"tools": [tool], "tool_choice": {"type": "function", "name": TOOL}}
    return form_fields(schema, form)


def decode_response(body: bytes, headers: Mapping[str, str]) -> ChatReply:
    """Return the reply in *body*, as valid UTF-8; raises TransientError.

    As in chat, a reply is kept whatever stands beside it.
    """
    said = loosely(body)
    if member(said, "status") == "failed":
        raise _failed(member(said, "error"))
    output = member(said, "output")
    if not isinstance(output, list):
        raise malformed("answered without an output")
    incomplete = member(said, "status") == "incomplete"
    if not incomplete and not any(member(item, "type") in _SAYING for item in output):
        raise malformed("answered without a message")
    told, refused = _told(output)
    text, finish = ended(told, _finish(said, refused=refused))
    usage = member(said, "usage")
    read, wrote = (tokens_of(member(usage, name)) for name in ("input_tokens", "output_tokens"))
    known, thought = member(usage, "input_tokens_details"), member(usage, "output_tokens_details")
    return ChatReply(
        text=text,
        prompt_tokens=read,
        completion_tokens=wrote,
        finish=finish,
        cached_tokens=min(tokens_of(member(known, "cached_tokens")), read),
        written_tokens=min(tokens_of(member(known, "cache_write_tokens")), read),
        reasoning_tokens=min(tokens_of(member(thought, "reasoning_tokens")), wrote),
        rates=rates(headers),
    )


def _told(output: list[object]) -> tuple[str, bool]:
    """Return what is said, and whether that is a refusal; a tool's call says something, too."""
    parts = [part for item in output for part in entries(member(item, "content"))]
    texts = _texts(parts, "output_text", "text")
    refusals = _texts(parts, "refusal", "refusal")
    if any(texts) or not refusals:
        called = _texts(output, "function_call", "arguments")
        return spoken("".join(texts) or "".join(called[:1])), False
    return "".join(refusals), True


def _texts(parts: list[object], kind: str, name: str) -> list[str]:
    named = (text_of(member(part, name)) for part in parts if member(part, "type") == kind)
    return [text for text in named if text is not None]


def _finish(said: object, *, refused: bool) -> str:
    if member(said, "status") != "incomplete":
        return finish_of(None, refused=refused)
    reason = text_of(member(member(said, "incomplete_details"), "reason"))
    return "length" if reason == CUT_OFF else finish_of(reason)


def _failed(error: object) -> TransientError:
    """Return what it means that the service answered 200, and that it failed."""
    message = text_of(member(error, "message")) or "it did not say why"
    limited = member(error, "code") == "rate_limit_exceeded"
    kind = "rate_limit" if limited else "server"
    return TransientError(f"the service failed to answer: {message}", kind=kind, said=message)


def cut_unsaid(reply: ChatReply, most: int | None) -> ChatReply:
    """Return *reply*, cut off if it has the *most* tokens that it could have."""
    if most is None or reply.finish != "stop" or reply.completion_tokens < most:
        return reply
    text, finish = ended(reply.text, "length")
    return msgspec.structs.replace(reply, text=text, finish=finish)


def encode_response(reply: ChatReply, *, name: str, model: str, created: int) -> bytes:
    """Return the body of a reply; *name* is what the service calls it."""
    refused = reply.finish == REFUSAL
    said = (
        {"type": "refusal", "refusal": reply.text}
        if refused
        else {"type": "output_text", "text": reply.text, "annotations": []}
    )
    reason = CUT_OFF if reply.finish in CUT else reply.finish
    whole = refused or reply.finish == "stop"
    status = "completed" if whole else "incomplete"
    message = {"id": f"msg-{name}", "type": "message", "role": "assistant", "status": status}
    return _encode(
        {
            "id": name,
            "object": "response",
            "created_at": created,
            "model": model,
            "status": status,
            "error": None,
            "incomplete_details": None if whole else {"reason": reason},
            "output": [{**message, "content": [said]}],
            "usage": _usage(reply),
        }
    )


def _usage(reply: ChatReply) -> dict[str, object]:
    return {
        "input_tokens": reply.prompt_tokens,
        "input_tokens_details": {"cached_tokens": reply.cached_tokens},
        "output_tokens": reply.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


_encode = msgspec.json.Encoder().encode
