"""What a service of our own answers on the wire, as the OpenAI protocol has it."""

from collections.abc import Mapping
from typing import Literal

import msgspec
from aiohttp import web

from agents.models.batches import Status


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a request."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    """The answer to a request that is refused."""

    error: Problem


class Offer(msgspec.Struct, frozen=True):
    """A model that is offered."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "billp"


class Offers(msgspec.Struct, frozen=True):
    """The models that are offered."""

    data: tuple[Offer, ...]
    object: Literal["list"] = "list"


class Embedding(msgspec.Struct, frozen=True):
    """The vector of a text: numbers, or in base64 as 32-bit floats, little-endian."""

    index: int
    embedding: tuple[float, ...] | str
    object: Literal["embedding"] = "embedding"


class TextUsage(msgspec.Struct, frozen=True):
    """What texts came to."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(msgspec.Struct, frozen=True):
    """The vectors of texts, in their order."""

    data: tuple[Embedding, ...]
    model: str
    usage: TextUsage
    object: Literal["list"] = "list"


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is kept."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: Literal["batch", "batch_output"]
    object: Literal["file"] = "file"
    status: Literal["processed"] = "processed"


class BatchProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a *line* of a file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class BatchProblems(msgspec.Struct, frozen=True):
    """What is wrong with a file."""

    data: tuple[BatchProblem, ...]
    object: Literal["list"] = "list"


class Counts(msgspec.Struct, frozen=True):
    """The calls of a batch, and how many have a reply, or have failed."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A batch: where it is, and the files that came of it."""

    id: str
    endpoint: str
    input_file_id: str
    status: Status
    created_at: int
    expires_at: int
    completion_window: Literal["24h"] = "24h"
    errors: BatchProblems | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: Counts = Counts()
    metadata: dict[str, str] | None = None
    object: Literal["batch"] = "batch"


class BatchList(msgspec.Struct, frozen=True, kw_only=True):
    """Batches, newest first; there may be *more*."""

    data: tuple[BatchAnswer, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


class Said(msgspec.Struct, frozen=True):
    """What a model said."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None


class Choice(msgspec.Struct, frozen=True):
    """The one reply to a chat request; *logprobs* are never told."""

    index: Literal[0]
    message: Said
    logprobs: None
    finish_reason: str


class ChatUsage(msgspec.Struct, frozen=True):
    """What a chat request and its reply came to."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(msgspec.Struct, frozen=True):
    """A chat reply in full."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: ChatUsage


class Delta(msgspec.Struct, frozen=True):
    """What an event adds to what was said."""

    role: Literal["assistant"] | msgspec.UnsetType = msgspec.UNSET
    content: str | msgspec.UnsetType | None = msgspec.UNSET
    refusal: str | msgspec.UnsetType = msgspec.UNSET


class ChunkChoice(msgspec.Struct, frozen=True):
    """The one reply in an event."""

    index: Literal[0]
    delta: Delta
    finish_reason: str | None


class CompletionChunk(msgspec.Struct, frozen=True):
    """An event of a chat reply that is streamed."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    """What a model said, in a response."""

    text: str
    annotations: tuple[str, ...]


class OutputRefusal(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """What a model said that would not, in a response."""

    refusal: str


class OutputMessage(msgspec.Struct, frozen=True):
    """The one item of a response."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    status: Literal["completed", "incomplete"]
    content: tuple[OutputText | OutputRefusal, ...]


class Incomplete(msgspec.Struct, frozen=True):
    """Why a response is not whole."""

    reason: str


class InputDetails(msgspec.Struct, frozen=True):
    """Of the tokens read: those that were known before."""

    cached_tokens: int


class OutputDetails(msgspec.Struct, frozen=True):
    """Of the tokens written: those that are not seen."""

    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True):
    """What a request and its response came to."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class Response(msgspec.Struct, frozen=True):
    """A reply of the Responses API."""

    id: str
    object: Literal["response"]
    created_at: int
    model: str
    status: Literal["completed", "incomplete"]
    error: None
    incomplete_details: Incomplete | None
    output: tuple[OutputMessage, ...]
    usage: ResponseUsage


def json_response(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return *value* as an answer."""
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
