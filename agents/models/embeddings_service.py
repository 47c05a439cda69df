"""Embeddings from a service that speaks the OpenAI protocol."""

from collections.abc import Sequence

import msgspec

from agents.models.failures import read_complaint
from agents.models.headers import rates
from agents.models.model import Rates, TransientError
from agents.models.service import Account, Service

_PATH = "/embeddings"


class _Body(msgspec.Struct, frozen=True):
    model: str
    input: Sequence[str]
    encoding_format: str = "float"


class _Embedding(msgspec.Struct, frozen=True):
    index: int
    embedding: list[float]


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0


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
        self._service = Service(account)
        self._model = model

    async def aclose(self) -> None:
        """Close all connections."""
        await self._service.aclose()

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Return vectors of *texts*, all of one length; raises ModelErrors as models do."""
        body = _encode(_Body(self._model, texts))
        answer = await self._service.post(_PATH, self._model, body)
        if answer.status != 200:
            complaint = read_complaint(answer.body)
            if answer.status == 404 and complaint.about("model", "deployment"):
                raise await self._service.no_such_model(self._model)
            raise self._service.failure(answer, complaint)
        said = _read(answer.body)
        vectors = [one.embedding for one in sorted(said.data, key=lambda one: one.index)]
        if len(vectors) != len(texts) or len({len(vector) for vector in vectors}) > 1:
            raise TransientError("the service answered other embeddings", kind="malformed")
        tokens = said.usage.prompt_tokens if said.usage else 0
        return Embedded(vectors, tokens, rates(answer.headers))


def _read(body: bytes) -> _Embeddings:
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TransientError("the service answered no embeddings", kind="malformed") from error


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Embeddings).decode
