"""A run while it runs, message by message, for whoever awaits them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Unpack

import anyio

from engine.bus import kinds
from engine.errors import ConfigError, LawError
from engine.listeners import Inbox, Live
from engine.messages import Message
from sim.config.run import RunConfig
from sim.metrics.summary import Summary
from sim.runs.loop import plain_errors
from sim.runs.run import Parts, run_async
from sim.runs.watching import Underway
from storage.runs import RunDirectory

_CAPACITY = 10_000


@asynccontextmanager
async def live(
    config: RunConfig | None = None,
    *,
    hears: type | UnionType = Message,
    capacity: int = _CAPACITY,
    out: Path | str | None = None,
    **given: Unpack[Parts],
) -> AsyncIterator["Running"]:
    """Run *config* beside the block, which hears messages as they happen.

    ::

        async with live(RunConfig(episodes=20)) as running:
            async for heard in running:
                print(heard.episode, heard.message)
        print(running.summary.digest)

    Who leaves the block before the run has ended cancels it, so that it can be resumed. What stops
    the run leaves the block as an error, as from `run_async`. Messages are those of the types that
    *hears* names. The run waits for nobody: the oldest of more than *capacity* messages that were
    not taken are `missed`. A block that awaits nothing holds all that runs in its event loop.
    """
    # No async generator that is iterated: one that is left in the middle is closed by whatever task
    # the event loop has at hand, which cannot leave the task group.
    kinds(hears)  # or nothing would be heard, and nobody told why
    if capacity < 1:
        raise ConfigError(f"expected a capacity of at least 1, got {capacity}")
    running = Running(hears, capacity)
    with plain_errors():
        async with anyio.create_task_group() as beside:

            async def carry_out() -> None:
                with_running: Parts = {**given, "views": (*given.get("views", ()), running)}
                running.end(await run_async(config, out=out, **with_running))

            beside.start_soon(carry_out)
            try:
                yield running
            finally:
                running.close()
                beside.cancel_scope.cancel()


@dataclass(eq=False)
class Running:
    """A run that is under way, to be iterated once; afterwards what came of it."""

    hears: type | UnionType
    capacity: int
    _inbox: Inbox | None = None
    _began: anyio.Event = field(default_factory=anyio.Event)
    _directory: RunDirectory | None = None
    _summary: Summary | None = None

    def __aiter__(self) -> "Running":
        return self

    async def __anext__(self) -> Live[Any]:
        if self._inbox is None:
            await self._began.wait()
        taken = None if self._inbox is None else await self._inbox.take()
        if taken is None:
            raise StopAsyncIteration
        return taken

    @property
    def run(self) -> str:
        """The run directory, as soon as there is one; raises LawError before."""
        if self._directory is None:
            raise LawError("the run has not begun: it has no directory yet")
        return str(self._directory.path)

    @property
    def summary(self) -> Summary:
        """What came of the run; raises LawError if it has not come to its end."""
        if self._summary is None:
            raise LawError("the run has not come to its end: it has no summary")
        return self._summary

    @property
    def missed(self) -> int:
        """How many messages came and went before they were taken."""
        return 0 if self._inbox is None else self._inbox.missed

    def attach(self, underway: Underway) -> None:
        """Hear the run; called when it begins."""
        self._directory = underway.directory
        self._inbox = underway.assembly.bus.inbox(self.hears, capacity=self.capacity)
        self._began.set()

    async def show(self) -> None:
        """Do nothing, for ever: messages are taken, not shown."""
        await anyio.sleep_forever()

    def end(self, summary: Summary) -> None:
        """Note what came of the run."""
        self._summary = summary
        self.close()

    def close(self) -> None:
        """Let the iteration end with what is there."""
        self._began.set()
        if self._inbox is not None:
            self._inbox.close()
