"""When nothing more can come of a run, unless what it waits for is sent.

Every call that is underway is counted, and so is every one that waits for a batch. Are they the
same, no reply but a batch's can make an agent ask again: a pause between attempts, a place in a
line and a call in flight all count as underway.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from agents.models.model import ChatModel, ChatReply, ChatRequest


@dataclass(eq=False)
class Quiet:
    """Calls *underway* and those of them *waiting* for a batch; *ears* hear of every change."""

    underway: int = 0
    waiting: int = 0
    ears: list[Callable[[], None]] = field(default_factory=list)

    @property
    def now(self) -> bool:
        """Whether all that is underway waits for a batch."""
        return self.underway == self.waiting

    @contextmanager
    def going(self) -> Iterator[None]:
        """Count a call as underway."""
        self.underway += 1
        self._tell()
        try:
            yield
        finally:
            self.underway -= 1
            self._tell()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Count a call as waiting for a batch."""
        self.waiting += 1
        self._tell()
        try:
            yield
        finally:
            self.waiting -= 1
            self._tell()

    def _tell(self) -> None:
        for hear in self.ears:
            hear()


@dataclass(frozen=True)
class Counted:
    """A *model* whose calls are counted."""

    model: ChatModel
    quiet: Quiet

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the model's reply."""
        with self.quiet.going():
            return await self.model.reply(request)
