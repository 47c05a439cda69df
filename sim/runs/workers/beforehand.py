"""Replies that workers reckon before the run asks for them: rules cost time as well.

Only of the model that is built in, which says the same to the same request wherever it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatModel, ChatReply, ChatRequest
from agents.models.providers import Door
from engine.calls import Call


@dataclass(eq=False)
class Beforehand:
    """Replies by call, for the *roles* whose model is built in."""

    roles: tuple[str, ...] = ()
    replies: dict[Call, ChatReply] = field(default_factory=dict)


@dataclass(frozen=True)
class Reckoned:
    """A *model* whose reply may be there already."""

    beforehand: Beforehand
    model: ChatModel

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply that is there, else what the model says."""
        reply = self.beforehand.replies.pop(request.call, None)
        return await self.model.reply(request) if reply is None else reply


def reckoned(doors: Mapping[str, Door]) -> tuple[Mapping[str, Door], Beforehand]:
    """Return the same *doors*, behind which replies may be there already."""
    built_in = {role: door for role, door in doors.items() if type(door.model) is EmbeddedModel}
    beforehand = Beforehand(tuple(built_in))
    ours = {
        role: replace(door, model=Reckoned(beforehand, door.model))
        for role, door in built_in.items()
    }
    return {**doors, **ours}, beforehand
