"""Replies from a cache: they may change what a run costs, and never its trace."""

from dataclasses import dataclass
from hashlib import blake2b

from agents.models.model import ChatModel, ChatReply, ChatRequest
from storage.replies import CachedReply, ReplyCache


@dataclass(eq=False)
class Cached:
    """A model with a cache in front; *place* says which service it is, for the same name elsewhere.

    The key is the whole request's digest, which holds the call's own seed, and the occurrence: so
    identical prompts keep their own replies.
    """

    model: ChatModel
    cache: ReplyCache
    place: str
    hits: int = 0
    misses: int = 0

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply that was given to the same call before, or ask for one."""
        key = self._key(request)
        known = self.cache.get(key)
        if known is not None:
            self.hits += 1
            return ChatReply(
                text=known.text,
                prompt_tokens=known.prompt_tokens,
                completion_tokens=known.completion_tokens,
                finish=known.finish,
                attempts=0,
            )
        self.misses += 1
        reply = await self.model.reply(request)
        kept = CachedReply(
            text=reply.text,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            finish=reply.finish,
        )
        self.cache.put(key, request.sampling.model, kept)
        return reply

    def _key(self, request: ChatRequest) -> bytes:
        call = request.call
        name = f"{self.place}\n{request.digest}\n{call.role}/{call.occurrence}"
        return blake2b(name.encode(), digest_size=16).digest()
