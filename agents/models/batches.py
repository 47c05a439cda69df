"""The seam to services that take calls in batches: many at once, answered within a day, for less.

What a call asks, and what came of it, are the bytes of a live call; only the way is another.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from agents.models.model import ChatReply, ChatRequest
from engine.errors import ModelError

Status: TypeAlias = Literal[
    "validating",
    "in_progress",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
]

MOST_LINES = 50_000
"""The calls that a batch may have."""


class Line(msgspec.Struct, frozen=True):
    """A call in a batch: its *name* there, and the *body* that it would have on its own."""

    name: str
    body: bytes


class Outcome(msgspec.Struct, frozen=True):
    """What came of a call in a batch: a *status* of HTTP and a *body*, or an *error* by its code.

    The error is that of the batch, `batch_expired` for one, and *said* what it says of it.
    """

    status: int = 0
    body: bytes = b""
    error: str = ""
    said: str = ""


class BatchState(msgspec.Struct, frozen=True, kw_only=True):
    """How a batch is doing. *output* and *errors* are names of files, or empty; so is *said*.

    Of *total* calls so many are *done*, with a reply or without one.
    """

    name: str
    status: Status
    file: str = ""
    output: str = ""
    errors: str = ""
    done: int = 0
    total: int = 0
    said: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing will come of it any more but what is there."""
        return self.status in {"completed", "failed", "expired", "cancelled"}


class NoSuchFileError(ModelError):
    """Raised when a service has no file of which a batch was to be made: it was there too long."""


class BatchService(Protocol):
    """A service that takes batches; all that goes over the network raises ModelErrors."""

    @property
    def url(self) -> str:
        """Where it is, with nothing secret."""
        ...

    def body(self, request: ChatRequest) -> bytes:
        """Return what is asked, as it would be on its own."""
        ...

    def read(self, request: ChatRequest, outcome: Outcome) -> ChatReply:
        """Return the reply; raises what `ChatModel.reply` does where there is none."""
        ...

    async def upload(self, lines: Sequence[Line]) -> str:
        """Return the name of a file with *lines*."""
        ...

    async def create(self, file: str) -> BatchState:
        """Let the service begin with the lines of a *file*; raises NoSuchFileError, too."""
        ...

    async def find(self, file: str) -> BatchState | None:
        """Return the batch that was made of a *file* lately, if there is one."""
        ...

    async def state(self, batch: str) -> BatchState:
        """Return how a *batch* is doing."""
        ...

    async def outcomes(self, file: str, lines: int) -> Mapping[str, Outcome]:
        """Return what a *file* of at most so many *lines* says, by the names of calls."""
        ...


_LONGEST = 39  # characters before the digest: services take names of 64


def name_of_line(request: ChatRequest) -> str:
    """Return the name of a call in a batch: its identity, for people, and its digest."""
    call = request.call
    identity = f"{call.user}-{call.session}-{call.step}-{call.occurrence}-{call.role}"
    return f"{identity[:_LONGEST]}-{request.digest}"
