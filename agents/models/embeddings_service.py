"""Embeddings from a service that speaks the OpenAI protocol."""

from collections.abc import Sequence

import msgspec

from agents.models.failures import read_complaint
from agents.models.model import TransientError
from agents.models.service import Account, Service

_PATH = "/embeddings"


class _Body(msgspec.Struct, frozen=True):
    model: str
    input: Sequence[str]
    encoding_format: str = "float"


class _Embedding(msgspec.Struct, frozen=True):
    index: int
    embedding: list[float]


class _Embeddings(msgspec.Struct, frozen=True):
    data: list[_Embedding]


class OpenAIEmbeddings:
    """The embedding *model* of an account. Belongs to one event loop; is to be closed."""

    def __init__(self, account: Account, model: str) -> None:
        self._service = Service(account)
        self._model = model

    async def aclose(self) -> None:
        """Close all connections."""
        await self._service.aclose()

    async def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text, all of one length; raises ModelErrors as models do."""
        body = _encode(_Body(self._model, texts))
        answer = await self._service.post(_PATH, self._model, body)
        if answer.status != 200:
            complaint = read_complaint(answer.body)
            if answer.status == 404 and complaint.about("model", "deployment"):
                raise await self._service.no_such_model(self._model)
            raise self._service.failure(answer, complaint)
        vectors = _read(answer.body)
        if len(vectors) != len(texts) or len({len(vector) for vector in vectors}) > 1:
            raise TransientError("the service answered other embeddings", kind="malformed")
        return vectors


def _read(body: bytes) -> list[list[float]]:
    try:
        data = _decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TransientError("the service answered no embeddings", kind="malformed") from error
    return [one.embedding for one in sorted(data, key=lambda one: one.index)]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Embeddings).decode
