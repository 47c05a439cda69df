"""Progress while a run runs: a bar on a terminal, else a line every ten seconds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

import anyio
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from engine.text import counted
from sim.runs.pulse import Pulse, Pulses
from sim.runs.watching import Underway
from sim.views.console import plain

_SOON = 0.1  # seconds between looks on a terminal
_LATER = 10.0  # and elsewhere
_WIDE = 100  # columns of a terminal that has room for the whole bar
_BARS = (24, 8)  # columns of the bar, there and elsewhere
_BESIDE = 4  # columns of the spinner and of what is between
_UNITS = ((86_400, "day"), (3_600, "h"), (60, "min"), (1, "s"))


class Fact(NamedTuple):
    """Something to be said; where there is no room, what has the highest *rank* goes first."""

    rank: int
    text: str


@dataclass(eq=False)
class ProgressView:
    """Shows how many episodes have ended, the time left, and what there is of all else so far."""

    console: Console = field(default_factory=lambda: plain(stderr=True))
    _pulses: Pulses = field(init=False)

    def attach(self, underway: Underway) -> None:
        """Take the pulse of a run."""
        self._pulses = Pulses(underway)

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
            # In a log a line may be as long as it wants: nothing is left out.
            line = joined(facts(self._pulses.take()))
            self.console.print(line, markup=False, soft_wrap=True)

    async def _draw(self) -> None:
        bar = _BARS[self.console.width < _WIDE]
        progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=bar),
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            console=self.console,
            transient=True,
            auto_refresh=False,
        )
        task = progress.add_task("")
        self._update(progress, task, bar)  # before anything is drawn
        with progress:
            while True:
                self._update(progress, task, bar)
                await anyio.sleep(_SOON)

    def _update(self, progress: Progress, task: TaskID, bar: int) -> None:
        pulse = self._pulses.take()
        line = fitted(facts(pulse), self.console.width - bar - _BESIDE)
        progress.update(
            task, completed=pulse.episodes, total=pulse.total, description=line, refresh=True
        )


def facts(pulse: Pulse) -> list[Fact]:
    """Return what is said of a run underway, in order; of what nobody knows yet, a dash."""
    return [
        Fact(0, f"{pulse.episodes:,}/{pulse.total:,} episodes"),
        *([Fact(3, f"{pulse.failed:,} failed")] if pulse.failed else []),
        Fact(1, time_left(pulse.seconds_left)),
        Fact(2, f"R_traj {_figure(pulse.r_traj)}"),
        Fact(9, f"Len {_figure(pulse.len)}"),
        Fact(8, counted(pulse.steps, "step")),
        Fact(7, f"{_figure(pulse.steps_per_second)} steps/s"),
        Fact(6, f"{pulse.in_flight:,} in flight"),
        Fact(10, f"{_short(pulse.tokens)} tokens"),
        *_money(pulse),
        *_retries(pulse),
    ]


def joined(told: Sequence[Fact]) -> str:
    """Return facts as a line."""
    return " · ".join(fact.text for fact in told)


def fitted(told: Sequence[Fact], width: int) -> str:
    """Return as many facts as fit into a *width*, but always the most important one."""
    left = list(told)
    while len(left) > 1 and len(joined(left)) > width:
        left.remove(max(left))
    return joined(left)


def time_left(seconds: float | None) -> str:
    """Return how long something will take, rounded up, in the largest unit and the next."""
    if seconds is None:
        return "time left –"
    whole = max(1, ceil(seconds))
    place = next(place for place, (size, _) in enumerate(_UNITS) if whole >= size)
    size, unit = _UNITS[place]
    if unit in {"min", "s"}:
        return f"about {ceil(whole / size)} {unit} left"
    below, small = _UNITS[place + 1]
    count, rest = divmod(ceil(whole / below), size // below)
    word = f"{unit}s" if unit == "day" and count > 1 else unit
    return f"about {count} {word}" + (f" {rest} {small}" if rest else "") + " left"


def _money(pulse: Pulse) -> list[Fact]:
    if pulse.cost is None:
        return []
    budget = f" of {pulse.budget:g}" if pulse.budget else ""
    return [Fact(4, f"cost {pulse.cost:.3g}{budget}")]


def _retries(pulse: Pulse) -> list[Fact]:
    if not pulse.retries:
        return []
    refused = f" ({pulse.refused:,} × 429)" if pulse.refused else ""
    word = "retry" if pulse.retries == 1 else "retries"
    return [Fact(5, f"{pulse.retries:,} {word}{refused}")]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def _short(count: int) -> str:
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= limit:
            return f"{count / limit:.1f}{unit}"
    return str(count)
