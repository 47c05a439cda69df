"""Calls that are collected and sent in batches, for half the price.

Whoever asks waits, for hours maybe; nothing else changes, and a trace is the same bytes. A batch is
sent when it is full, or when nothing more can come without it: all calls that are underway wait for
batches (`Quiet`), and for a moment no other came. It outlives the run: by what is written of it
(`BatchFile`) a run that is resumed collects the replies, and pays for none of them twice.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agents.models.batches import MOST_LINES, Line, name_of_line
from agents.models.guards.batch import Batch, Errands, Waiting
from agents.models.guards.quiet import Quiet
from agents.models.model import ChatReply, ChatRequest
from engine.attempt import log

_MOST_BYTES = 190_000_000  # of a file: services take 200 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """How batches are doing: calls *collected* and not sent yet, and *batches* underway."""

    collected: int
    batches: int


class Batching:
    """A model that sends its calls in batches. Belongs to one event loop; is to be closed."""

    def __init__(self, errands: Errands, quiet: Quiet) -> None:
        self._errands = errands
        self._quiet = quiet
        self._collected: dict[str, Waiting] = {}
        self._batches: list[Batch] = []
        self._held: dict[str, Batch] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._recall()
        quiet.ears.append(self._look)

    def statistics(self) -> BatchStatistics:
        """Return how things are now."""
        running = sum(batch.ended is None for batch in self._batches)
        return BatchStatistics(collected=len(self._collected), batches=running)

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply that a batch has for the call; raises what `ChatModel.reply` does."""
        name = name_of_line(request)
        waiting = Waiting(request, asyncio.get_running_loop().create_future())
        known = self._held.pop(name, None)
        if known is None:
            self._collected[name] = waiting
        else:
            self._collect(known, name, waiting)
        try:
            with self._quiet.held():
                return await waiting.reply
        finally:
            self._collected.pop(name, None)

    def close(self) -> None:
        """Wait for no batch any more; what was sent goes on at the service."""
        self._quiet.ears.remove(self._look)
        self._stop_clock()
        for batch in self._batches:
            if batch.task is not None:
                batch.task.cancel()

    # -- batches that were sent before

    def _recall(self) -> None:
        """Know again what the run had sent before it was stopped."""
        url = self._errands.service.url
        for sent in self._errands.journal.sent:
            if sent.url == url:
                batch = Batch(self._errands, len(sent.names), sent.file, sent.batch)
                self._held |= dict.fromkeys(sent.names, batch)
            elif not sent.ended:
                what = "a batch is left where it is: it was sent to another service"
                log("warning", what, batch=sent.batch, url=sent.url)

    def _collect(self, batch: Batch, name: str, waiting: Waiting) -> None:
        batch.add(name, waiting)
        if batch.task is None:
            self._batches.append(batch)
            batch.start()

    # -- when to send

    def _look(self) -> None:
        """Send what is enough, or start the clock if nothing more can come without it."""
        self._stop_clock()
        if len(self._collected) >= self._errands.pace.size:
            self._send()
        elif self._collected and self._quiet.now:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._errands.pace.wait, self._send)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send(self) -> None:
        collected, self._collected = self._collected, {}
        self._batches = [batch for batch in self._batches if batch.ended is None]
        by_model: dict[str, dict[str, Waiting]] = {}
        for name, waiting in collected.items():
            by_model.setdefault(waiting.request.sampling.model, {})[name] = waiting
        for same in by_model.values():  # services take one model in a file
            bodies = ((name, one.request) for name, one in same.items())
            lines = [Line(name, self._errands.service.body(request)) for name, request in bodies]
            for part in _parts(lines, min(MOST_LINES, self._errands.pace.size)):
                who = {line.name: same[line.name] for line in part}
                batch = Batch(self._errands, len(part), waiting=who)
                self._batches.append(batch)
                batch.start(part)


def _parts(lines: Sequence[Line], most: int) -> Iterator[Sequence[Line]]:
    """Yield *lines* in parts of at most so many, and of no more bytes than a service takes."""
    part: list[Line] = []
    size = 0
    for line in lines:
        if part and (len(part) == most or size + len(line.body) > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line.body) + 200  # what stands around it
    if part:
        yield part
