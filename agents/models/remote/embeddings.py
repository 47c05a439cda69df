"""Embeddings from a service that speaks the OpenAI protocol."""

import struct
from base64 import b64decode
from collections.abc import Sequence

import msgspec

from agents.models.model import Rates, TransientError
from agents.models.remote.bounded import (
    Tokens,
    decoded,
    entries,
    loosely,
    malformed,
    member,
    tokens_of,
)
from agents.models.remote.exchange import Answer
from agents.models.remote.failures import read_complaint
from agents.models.remote.headers import rates
from agents.models.remote.service import Account, Service

_PATH = "/embeddings"


class _Body(msgspec.Struct, frozen=True):
    model: str
    input: Sequence[str]
    encoding_format: str = "float"


class _Embedding(msgspec.Struct, frozen=True):
    embedding: list[float]
    index: int = 0


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: Tokens = 0


class _Embeddings(msgspec.Struct, frozen=True):
    data: list[_Embedding]
    usage: _Usage | None = None


class Embedded(msgspec.Struct, frozen=True):
    """What a service answered: a vector for each text, the tokens it counted, and its limits."""

    vectors: list[list[float]]
    tokens: int = 0
    rates: Rates | None = None


class OpenAIEmbeddings:
    """The embedding *model* of an account. Belongs to one event loop; is to be closed."""

    def __init__(self, account: Account, model: str) -> None:
        self.service = Service(account)
        self.path = _PATH
        self._model = model

    async def aclose(self) -> None:
        """Close all connections."""
        await self.service.aclose()

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Return vectors of *texts*, all of one length; raises ModelErrors as models do."""
        answer = await self.service.post(self.path, self._model, self.body(texts))
        if answer.status == 404 and read_complaint(answer.body).about("model", "deployment"):
            raise await self.service.no_such_model(self._model)
        return self.read(answer, len(texts))

    def body(self, texts: Sequence[str]) -> bytes:
        """Return what is asked for *texts*."""
        return _encode(_Body(self._model, texts))

    def read(self, answer: Answer, count: int) -> Embedded:
        """Return *count* vectors; raises ModelErrors as models do."""
        if not 200 <= answer.status < 300:
            raise self.service.failure(answer, read_complaint(answer.body))
        try:
            said = decode_embeddings(answer.body, count)
        except TransientError as error:
            raise self.service.unread(answer, error) from error
        return msgspec.structs.replace(said, rates=rates(answer.headers))


def decode_embeddings(body: bytes, count: int) -> Embedded:
    """Return *count* vectors of one length, in order; raises TransientError (`malformed`)."""
    said = decoded(_decode, body) or _read_loosely(body)
    ordered = sorted(said.data, key=lambda one: one.index)
    places = [one.index for one in ordered]
    vectors = [one.embedding for one in ordered]
    # Of a single text an odd index, or none, leaves no doubt.
    if len(vectors) != count or (count > 1 and places != list(range(count))):
        raise malformed("answered other embeddings")
    if len({len(vector) for vector in vectors}) > 1:
        raise malformed("answered embeddings of different lengths")
    return Embedded(vectors, said.usage.prompt_tokens if said.usage else 0)


def _read_loosely(body: bytes) -> _Embeddings:
    """Read what is no list of embeddings to the letter."""
    said = loosely(body)
    data = entries(member(said, "data"))
    if not data:
        raise malformed("answered no embeddings")
    used = member(member(said, "usage"), "prompt_tokens")
    return _Embeddings(
        data=[_Embedding(_vector(member(one, "embedding")), _index(one)) for one in data],
        usage=_Usage(tokens_of(used)),
    )


def _vector(said: object) -> list[float]:
    if isinstance(said, str):
        return _unpacked(said)
    try:
        return msgspec.convert(said, list[float])
    except msgspec.ValidationError as error:
        raise malformed("answered no numbers") from error


def _index(one: object) -> int:
    index = member(one, "index")
    return index if type(index) is int else 0


def _unpacked(said: str) -> list[float]:
    """Return the numbers in base64, as which some answer whatever they are asked for."""
    try:
        packed = b64decode(said, validate=True)
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    except (ValueError, struct.error) as error:
        raise malformed("answered no numbers") from error


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Embeddings).decode
