"""An account that is spent in the middle of a run."""

from dataclasses import dataclass, field

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from engine.errors import ServiceError


@dataclass
class Spent:
    """The embedded model, of an account that is spent after some *calls*."""

    calls: int
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.calls -= 1
        if self.calls < 0:
            raise ServiceError("the account is spent", hint="pay")
        return await self.model.reply(request)
