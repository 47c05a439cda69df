"""Embeddings as a model: a text goes in, its vector comes out as text.

So embeddings take the same way as all calls: the account's limits and the retries.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from agents.embeddings import to_unit
from agents.models.model import ChatReply, ChatRequest, Rates, TransientError
from agents.models.remote.embeddings import Embedded, OpenAIEmbeddings
from agents.models.remote.exchange import Answer
from agents.models.remote.probing import probe
from agents.models.remote.service import Account, Service
from agents.models.remote.vectors import embedding_request, encoded
from engine.records import Vector


class EmbeddingModel:
    """The embedding *model* of an account. Belongs to one event loop; is to be closed."""

    def __init__(self, account: Account, model: str) -> None:
        self._service = OpenAIEmbeddings(account, model)
        self._model = model
        self._length = 0  # of all vectors: that of the first, once there is one

    async def aclose(self) -> None:
        """Close all connections."""
        await self._service.aclose()

    async def probe(self) -> dict[str, Rates]:
        """Ask for a vector, and return what is said of the model's limits.

        Raises ServiceError if a run would come to nothing.
        """
        rates = await probe(partial(self.reply, embedding_request(self._model, "OK")))
        return {} if rates is None else {self._model: rates}

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the vector of the request's text; raises ModelErrors as models do."""
        return self._reply(await self._service.embed([request.messages[0].content]))

    # -- as a line of a batch

    @property
    def service(self) -> Service:
        """The service that has it."""
        return self._service.service

    @property
    def path(self) -> str:
        """Where it is asked."""
        return self._service.path

    def body(self, request: ChatRequest) -> bytes:
        """Return what is asked, as `reply` would ask it."""
        return self._service.body([request.messages[0].content])

    def answered(self, request: ChatRequest, answer: Answer) -> ChatReply:
        """Return the vector in an answer that came by another way; raises what `reply` does."""
        return self._reply(self._service.read(answer, 1))

    def _reply(self, said: Embedded) -> ChatReply:
        vector = _read(said.vectors[0])
        self._length = self._length or len(vector)
        if len(vector) != self._length:
            what = f"expected a vector of {self._length:,} numbers, got {len(vector):,}"
            raise TransientError(what, kind="malformed")
        return ChatReply(
            text=encoded(vector),
            prompt_tokens=said.tokens,
            completion_tokens=0,
            rates=said.rates,
        )


def _read(said: Sequence[float]) -> Vector:
    """Return the direction of a vector; raises TransientError if it has none."""
    numbers = np.array(said, np.float64)
    if not (numbers.size and np.isfinite(numbers).all()):
        raise TransientError("the service answered no numbers", kind="malformed")
    vector = to_unit(numbers)
    if not (numbers.any() and vector.any()):
        raise TransientError("the service answered a vector without direction", kind="malformed")
    return vector
