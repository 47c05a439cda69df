"""Progress while a run runs: a bar on a terminal, else a line every ten seconds."""

import time
from dataclasses import dataclass, field

import anyio
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from engine.listeners import Live
from engine.messages import UserResponded
from sim.runs.watching import Underway
from sim.views.console import plain

_SOON = 0.1  # seconds between looks on a terminal
_LATER = 10.0  # and elsewhere


@dataclass(eq=False)
class ProgressView:
    """Shows episodes, steps, calls in flight, tokens, Len so far and the time left."""

    console: Console = field(default_factory=lambda: plain(stderr=True))
    _steps: int = 0
    _underway: Underway = field(init=False)
    _began: float = field(init=False)

    def attach(self, underway: Underway) -> None:
        """Count the steps of a run."""
        self._underway = underway
        self._began = time.monotonic()
        underway.assembly.bus.listen(UserResponded, self._count)

    def _count(self, live: Live[UserResponded]) -> None:
        self._steps += 1

    def loading(self, name: str, done: int, size: int) -> None:
        """Show how far a model is: on a terminal as it goes, elsewhere that it begins."""
        what = f"loading {name}, {size / 1e6:,.0f} MB"
        if self.console.is_terminal:
            end = "\r" if done < size else "\n"
            self.console.print(f"{what}: {done / max(1, size):.0%}", end=end)
        elif not done:
            self.console.print(what)

    async def show(self) -> None:
        """Show how things stand, for ever."""
        if self.console.is_terminal:
            await self._draw()
        while True:
            await anyio.sleep(_LATER)
            self.console.print(self._line(), markup=False, soft_wrap=True)

    def facts(self) -> str:
        """Return what is said beside the count of episodes."""
        underway = self._underway
        in_flight = underway.chain.statistics().in_flight
        tokens = _short(underway.access.usage.tokens)
        length = underway.assembly.metrics.so_far().len
        return f"{self._steps:,} steps · {in_flight} in flight · {tokens} tokens · Len {length:.1f}"

    def _line(self) -> str:
        progress = self._underway.assembly.scheduler.progress()
        total = self._underway.config.visits
        spent = time.monotonic() - self._began
        left = spent * (total - progress.closed) / max(1, progress.closed)
        about = f"about {left:.0f} s left" if progress.closed else "no episode ended yet"
        failed = f", {progress.failed} failed" if progress.failed else ""
        return f"{progress.closed:,} of {total:,} episodes{failed} · {self.facts()} · {about}"

    async def _draw(self) -> None:
        progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("episodes · {task.description}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            auto_refresh=False,
        )
        config = self._underway.config
        with progress:
            task = progress.add_task("", total=config.visits)
            while True:
                self._update(progress, task)
                await anyio.sleep(_SOON)

    def _update(self, progress: Progress, task: TaskID) -> None:
        closed = self._underway.assembly.scheduler.progress().closed
        progress.update(task, completed=closed, description=self.facts(), refresh=True)


def _short(count: int) -> str:
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= limit:
            return f"{count / limit:.1f}{unit}"
    return str(count)
