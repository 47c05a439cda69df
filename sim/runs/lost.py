"""Calls that nobody made when a run was recorded, and calls and vectors that were lost since."""

import asyncio
from dataclasses import dataclass, field

from agents.models.model import ChatReply, ChatRequest
from agents.models.remote.embedder import UnknownVectorError
from engine.errors import CallFailedError, ServiceError
from engine.messages import HandlerFailed
from sim.runs.divergence import Difference, Line

UNRECORDED = "unrecorded"
"""The error of a call that nobody was asked when the run was recorded."""

_IDENTITY = ("role", "step", "occurrence")


@dataclass(eq=False)
class Nobody:
    """Lets calls that are not recorded fail, those of an episode in its *turn*.

    A run that differs may go on to calls that were never made, or an unfinished one to calls that
    were never heard. It must come as far as the first difference, and be silent about what would
    come after it: so a call fails only when all that lies before its episode agrees.
    """

    turn: int = 0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def move(self, turn: int) -> None:
        """Let it be the turn of an episode."""
        self.turn = turn
        self._moved.set()
        self._moved = asyncio.Event()

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Raise CallFailedError when it is the turn of the call."""
        while request.call.episode > self.turn:
            await self._moved.wait()
        raise CallFailedError("the call is not in the journal", kind=UNRECORDED)


def check_journaled(difference: Difference) -> None:
    """Raise ServiceError if all that differs is that a recorded call is not in the journal."""
    was, got = difference.was, difference.line
    if was is None or got is None or not is_unrecorded(got):
        return
    if all(was.message.get(name) == got.message.get(name) for name in _IDENTITY):
        call = f"the {got.message['role']}'s call at step {got.message['step']}"
        what = f"episode {got.episode}: {call} is not in the journal"
        raise ServiceError(what, hint="is calls.jsonl complete?")


def is_unrecorded(line: Line) -> bool:
    """Tell whether *line* says that a call was not recorded."""
    return (line.message.get("type"), line.message.get("error")) == ("ModelFailed", UNRECORDED)


def check_embedded(difference: Difference) -> None:
    """Raise ServiceError if all that differs is that the vector of a text is not recorded."""
    got = difference.line.message if difference.line else {}
    told = got.get("type"), got.get("error")
    if told == (HandlerFailed.__name__, UnknownVectorError.__name__):
        what = f"episode {difference.episode}: the vector of a text that the {got['handler']} needs"
        hint = "is embeddings/vectors.jsonl complete, and is the code that of the run?"
        raise ServiceError(f"{what} is not in vectors.jsonl", hint=hint)
