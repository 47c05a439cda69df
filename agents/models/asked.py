"""What strangers ask of a service of our own: requests on the wire, read into ours."""

from hashlib import blake2b
from typing import Literal, TypeAlias

import msgspec

from agents.models.model import ChatMessage, ChatRequest, Sampling
from agents.models.wire import ResponseFormat
from engine.calls import Call

_Role: TypeAlias = Literal["system", "user", "assistant", "developer"]


class _Part(msgspec.Struct, frozen=True):
    type: Literal["text"]
    text: str


class _Asked(msgspec.Struct, frozen=True):
    role: _Role
    content: str | tuple[_Part, ...]

    def message(self) -> ChatMessage:
        role: Literal["system", "user", "assistant"]
        role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return ChatMessage(role=role, content=self.content)
        return ChatMessage(role=role, content="".join(part.text for part in self.content))


class AskedReply(msgspec.Struct, frozen=True):
    """A chat request as it came; unknown fields are passed over, as services do."""

    model: str
    messages: tuple[_Asked, ...]
    seed: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    response_format: ResponseFormat | None = None
    stream: bool | None = False
    n: int | None = 1

    def request(self, body: bytes) -> ChatRequest:
        """Return the request that it is: of ours, the very same messages, seed and schema.

        Who sends no seed gets one made of the *body*.
        """
        seed = self.seed
        if seed is None:
            seed = int.from_bytes(blake2b(body, digest_size=6).digest(), "big")
        limit = self.max_completion_tokens if self.max_tokens is None else self.max_tokens
        return ChatRequest(
            call=Call(episode=0, user=0, session=0, step=0, role="stranger", occurrence=0),
            sampling=Sampling(model=self.model, temperature=self.temperature, max_tokens=limit),
            messages=tuple(asked.message() for asked in self.messages),
            seed=seed % 2**64,
            schema=self._schema(),
        )

    def _schema(self) -> str:
        if self.response_format is None or self.response_format.json_schema is None:
            return ""
        return bytes(self.response_format.json_schema.schema).decode()


class AskedVectors(msgspec.Struct, frozen=True):
    """A request for embeddings as it came."""

    model: str
    input: str | tuple[str, ...]
    encoding_format: Literal["float", "base64"] | None = "float"

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts to embed."""
        return (self.input,) if isinstance(self.input, str) else self.input
