"""What a service of our own answers, as an OpenAPI 3.1 description made of the types it uses."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import msgspec

from agents.models.serving.answers import (
    BatchAnswer,
    BatchList,
    Completion,
    CompletionChunk,
    Embeddings,
    Offer,
    Offers,
    Refusal,
    Response,
    StoredFile,
)
from agents.models.serving.asked import AskedBatch, AskedReply, AskedResponse, AskedVectors
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
)

Json: TypeAlias = dict[str, Any]

_ASKED = (AskedReply, AskedResponse, AskedVectors)
_TYPES = (
    *_ASKED,
    *(AskedBatch, BatchAnswer, BatchList, Completion, CompletionChunk, Embeddings),
    *(Offer, Offers, Refusal, Response, StoredFile),
)

_ALWAYS: Final = {
    400: "what came is no HTTP/1.1, or not what is asked for here",
    431: "a line of the request's head is too long",
    503: "too many connections, requests or bytes at once; or a fault that is shown on purpose",
}
_OF_BODIES: Final = {
    404: "no such model",
    408: "the body did not come in time",
    413: "the body is too big, packed or unpacked",
    415: "the body is not in a form that is read here",
    417: "an expectation other than 100-continue",
    429: "more calls or tokens than are allowed in a minute",
    500: "a fault that is shown on purpose",
}
_OF_FILES: Final = {status: _OF_BODIES[status] for status in (408, 413, 415, 417)}
_LISTING: Final = [
    {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100},
    },
    {"name": "after", "in": "query", "schema": {"type": "string"}},
]
_FORM: Final = {
    "type": "object",
    "required": ["purpose", "file"],
    "properties": {
        "purpose": {"type": "string", "const": "batch"},
        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
    },
}
_EVENT: Final = {  # as OpenAPI 3.2 has it: an item of the stream
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {
            "anyOf": [
                {"const": "[DONE]"},
                {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {"$ref": "#/components/schemas/CompletionChunk"},
                },
            ]
        }
    },
}
_WAITS: Final = frozenset({429, 503})


def described(names: Sequence[str], *, keyed: bool) -> Json:
    """Return the description of a service that offers the models *names*.

    If it is *keyed* it asks for a key.
    """
    _, types = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    for asked in _ASKED:
        types[asked.__name__]["properties"]["model"] = {"type": "string", "enum": list(names)}
    components: Json = {"schemas": types}
    if keyed:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    more = {401: "a wrong key"} if keyed else {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "billp serve",
            "version": "1",
            "description": "Models that are offered by the OpenAI protocol, to rehearse with.",
        },
        "servers": [{"url": "/v1"}],
        "security": [{"key": []}] if keyed else [],
        "paths": {
            CHAT: {"post": _posted("AskedReply", _completions(), more)},
            RESPONSES: {"post": _posted("AskedResponse", _json("Response"), more)},
            EMBEDDINGS: {"post": _posted("AskedVectors", _json("Embeddings"), more)},
            MODELS: _fetched("the models that are offered", _json("Offers"), more),
            f"{MODEL}{{model}}": _named("model", "Offer", more),
            **_of_batches(more),
            DESCRIPTION: _fetched("this description", {"application/json": {}}, more),
        },
        "components": components,
    }


def _of_batches(more: Mapping[int, str]) -> Json:
    """Return the paths of files and batches."""
    form = {"multipart/form-data": {"schema": _FORM}}
    cancelled = _responses("the batch", _json("BatchAnswer"), {**more, 404: "no such batch"})
    begun = {**more, **_OF_FILES, 404: "no such file"}
    content: Json = {"application/octet-stream": {}}
    return {
        FILES: {
            "post": {
                "requestBody": {"required": True, "content": form},
                "responses": _responses("the file", _json("StoredFile"), {**more, **_OF_FILES}),
            }
        },
        f"{FILE}{{file}}": _named("file", "StoredFile", more),
        f"{FILE}{{file}}{CONTENT}": {
            "parameters": [_in_path("file")],
            **_fetched("what the file holds", content, {**more, 404: "no such file"}),
        },
        BATCHES: {
            "post": {
                "requestBody": {"required": True, "content": _json("AskedBatch")},
                "responses": _responses("the batch", _json("BatchAnswer"), begun),
            },
            "get": {
                "parameters": _LISTING,
                "responses": _responses(
                    "the batches, newest first",
                    _json("BatchList"),
                    {**more, 404: "no such batch to begin after"},
                ),
            },
        },
        f"{BATCH}{{batch}}": _named("batch", "BatchAnswer", more),
        f"{BATCH}{{batch}}{CANCEL}": {
            "parameters": [_in_path("batch")],
            "post": {"responses": cancelled},
        },
    }


def _named(what: str, answer: str, more: Mapping[int, str]) -> Json:
    """Return how the one *what* of a name is fetched."""
    fetched = _fetched(f"a {what}", _json(answer), {**more, 404: f"no such {what}"})
    return {"parameters": [_in_path(what)], **fetched}


def _in_path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _posted(asked: str, answer: Json, more: Mapping[int, str]) -> Json:
    return {
        "requestBody": {"required": True, "content": _json(asked)},
        "responses": _responses("the answer", answer, {**_OF_BODIES, **more}),
    }


def _fetched(what: str, answer: Json, more: Mapping[int, str]) -> Json:
    got = {"responses": _responses(what, answer, more)}
    told = {str(status): {"description": text} for status, text in [(200, what), *more.items()]}
    allowed = {"Allow": {"schema": {"const": ", ".join(METHODS[MODELS])}}}
    return {
        "get": got,
        "head": {"responses": told},
        "options": {
            "security": [],
            "responses": {"204": {"description": "what is allowed", "headers": allowed}},
        },
    }


def _responses(what: str, answer: Json, more: Mapping[int, str]) -> Json:
    refusals = sorted({**_ALWAYS, **more}.items())
    return {
        "200": {"description": what, "content": answer},
        **{str(status): _refusal(status, text) for status, text in refusals},
    }


def _refusal(status: int, text: str) -> Json:
    told = {"description": f"{HTTPStatus(status).phrase}: {text}", "content": _json("Refusal")}
    if status not in _WAITS:
        return told
    # Not always sent: some services do not say how long to wait, and that is a fault to show too.
    return told | {"headers": {"Retry-After": {"schema": {"type": "string", "pattern": r"^\d+$"}}}}


def _completions() -> Json:
    return _json("Completion") | {"text/event-stream": {"schema": _EVENT}}


def _json(name: str) -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
