"""Replies from a cache: they may change what a run costs, and never its trace.

A cache is looked up before a call is made, and filled when the call is in the journal: nothing that
a run can do without comes between a reply that was paid for and the disk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from agents.models.model import ChatModel, ChatReply, ChatRequest
from engine.attempt import log
from engine.errors import FileError
from storage.replies import CachedReply, ReplyCache

T = TypeVar("T")

_MOMENT = 2.0  # seconds that another process may hold the cache: nobody else gets on meanwhile


class SpareCache:
    """A cache in *directory* that a run can do without; to be closed.

    The first thing that goes wrong is said, and from then on the cache is off.
    """

    def __init__(self, directory: Path) -> None:
        self._cache: ReplyCache | None = None
        try:
            self._cache = ReplyCache(directory, _MOMENT)
        except FileError as error:
            self._give_up(error)

    def get(self, key: bytes) -> CachedReply | None:
        """Return the reply under *key*, if there is one."""
        return self._try(lambda cache: cache.get(key))

    def put(self, key: bytes, model: str, reply: CachedReply) -> None:
        """Keep *reply* under *key*, if it can be kept."""
        self._try(lambda cache: cache.put(key, model, reply))

    def close(self) -> None:
        """Close the cache."""
        self._try(lambda cache: cache.close())

    def _try(self, do: Callable[[ReplyCache], T]) -> T | None:
        if self._cache is None:
            return None
        try:
            return do(self._cache)
        except FileError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: FileError) -> None:
        log(
            "warning",
            "the cache is off from now on, and the run goes on without it",
            error=str(error),
        )
        if self._cache is not None:
            self._cache.abandon()
            self._cache = None


@dataclass(eq=False)
class Cached:
    """A model with a cache in front; *place* says which service it is, for the same name elsewhere.

    The key is the whole request's digest, which holds the call's own seed, and the occurrence: so
    identical prompts keep their own replies.
    """

    model: ChatModel
    cache: SpareCache
    place: str
    hits: int = 0
    misses: int = 0

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply that was given to the same call before, or ask for one."""
        known = self.cache.get(self._key(request))
        if known is None:
            self.misses += 1
            return await self.model.reply(request)
        self.hits += 1
        return ChatReply(
            text=known.text,
            prompt_tokens=known.prompt_tokens,
            completion_tokens=known.completion_tokens,
            finish=known.finish,
            # Nobody was paid: by that budgets, the journal and `keep` tell it from a new reply.
            attempts=0,
        )

    def keep(self, request: ChatRequest, reply: ChatReply) -> None:
        """Keep a *reply* that is journaled, unless it came from here."""
        if not reply.attempts:
            return
        kept = CachedReply(
            text=reply.text,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            finish=reply.finish,
        )
        self.cache.put(self._key(request), request.sampling.model, kept)

    def _key(self, request: ChatRequest) -> bytes:
        call = request.call
        name = f"{self.place}\n{request.digest}\n{call.role}/{call.occurrence}"
        return blake2b(name.encode(), digest_size=16).digest()
