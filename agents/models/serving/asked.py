"""What strangers ask of a service of our own: requests on the wire, read into ours."""

from hashlib import blake2b
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from agents.models.model import ChatMessage, ChatRequest, Sampling
from agents.settings import Effort
from engine.calls import Call

MESSAGES: Final = 2_048
"""The messages that a request may have, and the texts."""

TEXT: Final = 32_768
"""The characters that a text to be embedded may have."""

_Role: TypeAlias = Literal["system", "user", "assistant", "developer"]
_Count: TypeAlias = Annotated[int, Meta(ge=1, le=2**31 - 1)]
# To JSON 3.0 is a whole number too.
_CountAsFloat: TypeAlias = Annotated[float, Meta(ge=1, le=2**31 - 1, multiple_of=1)]
_Seed: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_SeedAsFloat: TypeAlias = Annotated[float, Meta(ge=-(2**63), lt=2**63, multiple_of=1)]
_Text: TypeAlias = Annotated[str, Meta(max_length=TEXT)]


class TextPart(msgspec.Struct, frozen=True):
    """A part of a message."""

    type: Literal["text"]
    text: str


class AskedMessage(msgspec.Struct, frozen=True):
    """A message, whole or in parts."""

    role: _Role
    content: str | tuple[TextPart, ...]

    def message(self) -> ChatMessage:
        """Return the message that it is."""
        role: Literal["system", "user", "assistant"]
        role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return ChatMessage(role=role, content=self.content)
        return ChatMessage(role=role, content="".join(part.text for part in self.content))


class TextFormat(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Replies in words."""


class ObjectFormat(msgspec.Struct, frozen=True, tag_field="type", tag="json_object"):
    """Replies in JSON."""


class AskedSchema(msgspec.Struct, frozen=True):
    """The JSON schema that replies are to follow."""

    name: str
    schema: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]
    strict: bool | None = None

    def __post_init__(self) -> None:
        if not bytes(self.schema).startswith(b"{"):
            raise ValueError("Expected `object` as schema")


class SchemaFormat(msgspec.Struct, frozen=True, tag_field="type", tag="json_schema"):
    """Replies in JSON that follow a schema."""

    json_schema: AskedSchema


class AskedReply(msgspec.Struct, frozen=True):
    """A chat request as it came; unknown fields are passed over, as services do."""

    model: str
    messages: Annotated[tuple[AskedMessage, ...], Meta(min_length=1, max_length=MESSAGES)]
    seed: _Seed | _SeedAsFloat | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: _Count | _CountAsFloat | None = None
    max_completion_tokens: _Count | _CountAsFloat | None = None
    response_format: TextFormat | ObjectFormat | SchemaFormat | None = None
    reasoning_effort: Effort | None = None
    stream: bool | None = False
    n: Literal[1] | None = 1

    def request(self, body: bytes) -> ChatRequest:
        """Return the request that it is: of ours, the very same messages, seed and schema.

        Who sends no seed gets one made of the *body*.
        """
        limit = self.max_completion_tokens if self.max_tokens is None else self.max_tokens
        return strangers(
            _sampling(self.model, self.temperature, limit, self.reasoning_effort),
            tuple(asked.message() for asked in self.messages),
            self.seed,
            self._schema(),
            body,
        )

    def _schema(self) -> str:
        if not isinstance(self.response_format, SchemaFormat):
            return ""
        return bytes(self.response_format.json_schema.schema).decode()


def strangers(
    sampling: Sampling,
    messages: tuple[ChatMessage, ...],
    seed: float | None,
    schema: str,
    body: bytes,
) -> ChatRequest:
    """Return a stranger's request; who sends no *seed* gets one made of the *body*."""
    if seed is None:
        seed = int.from_bytes(blake2b(body, digest_size=6).digest(), "big")
    return ChatRequest(
        call=Call(episode=0, user=0, session=0, step=0, role="stranger", occurrence=0),
        sampling=sampling,
        messages=messages,
        # The protocol allows negative ones, of which no 8 bytes can be made.
        seed=int(seed) % 2**64,
        schema=schema,
    )


def _sampling(
    model: str, temperature: float | None, limit: float | None, effort: Effort | None
) -> Sampling:
    """Return how a stranger's reply is drawn; room for reasoning is in the *limit* already."""
    most = None if limit is None else int(limit)
    if effort is None:
        return Sampling(model=model, temperature=temperature, max_tokens=most)
    return Sampling(
        model=model, temperature=temperature, max_tokens=most, effort=effort, reasoning_tokens=0
    )


class InputPart(msgspec.Struct, frozen=True):
    """A part of a message of the Responses API."""

    type: Literal["input_text", "output_text"]
    text: str


class InputMessage(msgspec.Struct, frozen=True):
    """A message of the Responses API, whole or in parts."""

    role: _Role
    content: str | tuple[InputPart, ...]
    type: Literal["message"] = "message"

    def message(self) -> ChatMessage:
        """Return the message that it is."""
        if isinstance(self.content, str):
            return AskedMessage(self.role, self.content).message()
        text = "".join(part.text for part in self.content)
        return AskedMessage(self.role, text).message()


class NamedFormat(AskedSchema, frozen=True, tag_field="type", tag="json_schema"):
    """Replies in JSON that follow a schema, as the Responses API has it."""


class AskedText(msgspec.Struct, frozen=True):
    """How the text of a reply is to be."""

    format: TextFormat | ObjectFormat | NamedFormat | None = None


class AskedReasoning(msgspec.Struct, frozen=True):
    """How long a model is to reason."""

    effort: Effort | None = None


class AskedResponse(msgspec.Struct, frozen=True):
    """A request of the Responses API as it came; unknown fields are passed over.

    Nothing is kept here: no call can build on another, be streamed, or be done later.
    """

    model: str
    input: str | Annotated[tuple[InputMessage, ...], Meta(min_length=1, max_length=MESSAGES)]
    instructions: str | None = None
    seed: _Seed | _SeedAsFloat | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_output_tokens: _Count | _CountAsFloat | None = None
    text: AskedText | None = None
    reasoning: AskedReasoning | None = None
    previous_response_id: None = None
    stream: Literal[False] | None = False
    background: Literal[False] | None = False

    def request(self, body: bytes) -> ChatRequest:
        """Return the request that it is: the same that it would be if it came as chat."""
        effort = self.reasoning.effort if self.reasoning else None
        return strangers(
            _sampling(self.model, self.temperature, self.max_output_tokens, effort),
            self._messages(),
            self.seed,
            self._schema(),
            body,
        )

    def _messages(self) -> tuple[ChatMessage, ...]:
        told = self.instructions
        first = () if told is None else (ChatMessage(role="system", content=told),)
        if isinstance(self.input, str):
            return (*first, ChatMessage(role="user", content=self.input))
        return (*first, *(asked.message() for asked in self.input))

    def _schema(self) -> str:
        form = self.text.format if self.text else None
        return bytes(form.schema).decode() if isinstance(form, NamedFormat) else ""


class AskedBatch(msgspec.Struct, frozen=True):
    """A request for a batch as it came."""

    input_file_id: Annotated[str, Meta(max_length=128)]
    endpoint: Literal["/v1/chat/completions", "/v1/responses", "/v1/embeddings"]
    completion_window: Literal["24h"]
    metadata: dict[str, str] | None = None


class AskedLine(msgspec.Struct, frozen=True):
    """A line of the file of a batch: a call with its name."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=64)]
    method: Literal["POST"]
    url: str
    body: msgspec.Raw


class AskedVectors(msgspec.Struct, frozen=True):
    """A request for embeddings as it came."""

    model: str
    input: _Text | Annotated[tuple[_Text, ...], Meta(min_length=1, max_length=MESSAGES)]
    encoding_format: Literal["float", "base64"] | None = "float"

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts to embed."""
        return (self.input,) if isinstance(self.input, str) else self.input
