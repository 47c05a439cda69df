"""An embedder that asks a service, once for each text of a run."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from agents.models.model import ChatModel, ChatReply, ChatRequest
from agents.models.remote.vectors import decoded, embedding_request
from engine.errors import CallFailedError, FileError, ServiceError
from engine.records import Vector
from storage.vectors import VectorEntry, VectorFile


@dataclass(eq=False)
class ServiceEmbedder:
    """Vectors of texts by *name*, a service's embedding model; *file* holds what it said.

    *keep* is told every reply once it is there.
    """

    model: ChatModel
    name: str
    file: VectorFile
    keep: Callable[[ChatRequest, ChatReply], None] = lambda _, __: None
    _asked: dict[str, asyncio.Task[VectorEntry]] = field(default_factory=dict)

    async def embed(self, lines: Sequence[str]) -> Vector:
        """Return the vector of a text given as lines; raises CallFailedError if there is none."""
        text = "\n".join(lines)
        digest = _digest(text)
        return _vector(self.file.known.get(digest) or await self._ask(digest, text))

    async def _ask(self, digest: str, text: str) -> VectorEntry:
        # All who want the same text wait for one call; who gives up does not end it for the others.
        task = self._asked.get(digest)
        if task is None:
            task = asyncio.create_task(self._answered(digest, text))
            self._asked[digest] = task
            task.add_done_callback(lambda _: self._asked.pop(digest))
        return await asyncio.shield(task)

    async def _answered(self, digest: str, text: str) -> VectorEntry:
        request = embedding_request(self.name, text or " ")  # a service takes no empty text
        try:
            reply = await self.model.reply(request)
            self._check(decoded(reply.text))
        except CallFailedError as error:
            # That there is none is recorded, too: a replay is to fail where the run did.
            entry = VectorEntry(text=digest, vector=None, error=error.kind, attempts=1)
            self.file.add(entry)
        else:
            entry = VectorEntry(
                text=digest,
                vector=reply.text,
                error=None,
                tokens=reply.prompt_tokens,
                attempts=reply.attempts,
            )
            self.file.add(entry)
            self.keep(request, reply)
        return entry

    def _check(self, vector: Vector) -> None:
        if not vector.any():
            raise CallFailedError("the vector has no direction", kind="malformed")
        # What is odd for once was tried again before it came here. So this is another model, to
        # which a run was resumed, and so are all its vectors.
        if self.file.length not in {0, len(vector)}:
            what = f"expected vectors of {self.file.length:,} numbers, got {len(vector):,}"
            hint = "let the service's model, and what the cache holds, be those of the run"
            raise ServiceError(f"{self.name}: {what}", hint=hint)


class UnknownVectorError(FileError):
    """Raised when the vector of a text is not recorded."""


@dataclass(frozen=True)
class RecordedEmbedder:
    """Vectors that a service said before; asks nobody."""

    known: Mapping[str, VectorEntry]

    async def embed(self, lines: Sequence[str]) -> Vector:
        """Return the vector of a text; raises CallFailedError, or UnknownVectorError."""
        text = "\n".join(lines)
        entry = self.known.get(_digest(text))
        if entry is None:
            raise UnknownVectorError(f"the vector of {text[:40]!r} is not recorded")
        return _vector(entry)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _vector(entry: VectorEntry) -> Vector:
    if entry.vector is None:
        kind = entry.error or "unknown"
        raise CallFailedError(f"there is no vector of the text: {kind}", kind=kind)
    return decoded(entry.vector)
