"""Replies from a journal, in front of a model: what makes replay and resume."""

from agents.models.model import ChatReply, ChatRequest
from engine.errors import ServiceError


class NoModel:
    """A model that must not be called: a replay calls nobody."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Raise ServiceError: the journal should have had the reply."""
        call = request.call
        what = f"the {call.role}'s call at step {call.step} of user {call.user}"
        raise ServiceError(f"{what} is not in the journal", hint="finish the run with billp resume")
