"""What a page is told of a run that goes on, by server-sent events: numbers, lanes, charts, end.

The same for a run of this process, which is listened to, and for one of another process, whose
files are followed.
"""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from math import fsum
from typing import Any, Protocol

import anyio
import msgspec

from engine.errors import BillpError
from engine.listeners import Live
from engine.messages import EpisodeFailed, EpisodeSettled, EpisodeStarted, PlanRequested
from sim.analysis.ledger import Ledger
from sim.analysis.trend import HEARD as TREND
from sim.analysis.trend import Trend
from sim.analysis.visits import standing_of
from sim.runs.controls import Controls
from sim.runs.pulse import Pulse, Pulses
from sim.runs.watching import Underway
from sim.views.charts.course import course_rows
from sim.views.web.kept import Kept
from sim.views.web.templating import duration, short
from storage.runs import RunDirectory

_SOON = 0.4  # seconds between two events of this process's own run
_LATER = 1.0  # and of another's, whose files are read
_TRENDS = 2.0  # seconds between two drawings of the charts
_LANES = 48  # episodes under way that are shown
_LATE = 3.0  # times as long for a step as the others' mean is late
_LEAST = 2.0  # seconds that nobody is late by


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """An episode under way: at which step, for how many seconds; *late* beside the others."""

    episode: int
    user: int
    step: int
    seconds: float
    late: bool


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is like now: *tiles* by the name of their element, and others in order.

    *waits* says in words which episodes the next one waits for.
    """

    standing: str
    tiles: dict[str, str]
    pulse: tuple[tuple[str, str], ...] = ()
    lanes: tuple[Lane, ...] = ()
    waits: str = ""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The run goes on no more, at least not here."""

    standing: str
    said: str
    reload: bool


class Feed(Protocol):
    """Tells of a run."""

    def events(self) -> AsyncIterator[bytes]:
        """Yield server-sent events until there is nothing more to tell."""
        ...


def event(kind: str, value: object) -> bytes:
    """Return a server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(value))


# -- a run of this process


@dataclass(eq=False)
class OwnFeed:
    """Listens to a run of this process; to be made before it starts."""

    underway: Underway
    pulses: Pulses
    controls: Controls
    clock: Callable[[], float] = time.monotonic
    ended: Ended | None = None
    _trend: Trend = field(init=False)
    _lanes: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bus, categories = self.underway.assembly.bus, self.underway.environment.catalog.categories
        self._trend = Trend(lambda item: categories[item])
        # In canonical order, so that the charts are those of the recorded run.
        bus.follow(TREND, lambda envelope: self._trend.hear(envelope.message))
        bus.listen(
            EpisodeStarted | PlanRequested | EpisodeSettled | EpisodeFailed,
            self._hear,
            capacity=1_000_000,
        )

    def _hear(self, live: Live[Any]) -> None:
        episode = live.episode
        if episode is None:
            return
        match live.message:
            case EpisodeStarted(user=user):
                self._lanes[episode] = [user, 0, self.clock()]
            case PlanRequested(step=step) if episode in self._lanes:
                self._lanes[episode][1:] = [step, self.clock()]
            case EpisodeSettled() | EpisodeFailed():
                self._lanes.pop(episode, None)

    async def events(self) -> AsyncIterator[bytes]:
        """Yield what the run is like, some times a second, until it has ended."""
        drawn, due = -1, 0.0
        while self.ended is None:
            yield event("tick", self.tick())
            if len(self._trend) != drawn and self.clock() >= due:
                drawn, due = len(self._trend), self.clock() + _TRENDS
                yield event("trend", course_rows(self._trend.points()))
            await anyio.sleep(_SOON)
        yield event("tick", self.tick())
        yield event("trend", course_rows(self._trend.points()))
        yield event("end", self.ended)

    def tick(self) -> Tick:
        """Return what the run is like now."""
        pulse = self.pulses.take()
        return Tick(
            standing="paused" if self.controls.paused else "running",
            tiles=_tiles(pulse.r_traj, pulse.len, pulse.episodes, pulse.total),
            pulse=tuple(_told(pulse)),
            lanes=self._shown(),
            waits=self._waits(),
        )

    def _shown(self) -> tuple[Lane, ...]:
        now = self.clock()
        spans = [now - since for _, _, since in self._lanes.values()]
        late = max(_LEAST, _LATE * fsum(spans) / max(1, len(spans)))
        shown = sorted(self._lanes.items(), key=lambda one: one[1][2])[:_LANES]
        return tuple(
            Lane(
                episode=episode,
                user=int(user),
                step=int(step),
                seconds=round(now - since, 1),
                late=now - since >= late,
            )
            for episode, (user, step, since) in shown
        )

    def _waits(self) -> str:
        held = self.underway.assembly.scheduler.waited_for()
        if not held:
            return ""
        if len(held) > 3:
            return f"The next visits wait for {len(held):,} episodes."
        names = " and ".join(map(str, held))
        word = "episode" if len(held) == 1 else "episodes"
        return f"The next visits wait for {word} {names}."


def _tiles(r_traj: float | None, length: float | None, written: int, total: int) -> dict[str, str]:
    return {
        "r_traj": "–" if r_traj is None else f"{r_traj:.2f}",
        "len": "–" if length is None else f"{length:.2f}",
        "episodes": f"{written:,} of {total:,}" if total > written else f"{written:,}",
    }


def _told(pulse: Pulse) -> list[tuple[str, str]]:
    speed = pulse.steps_per_second
    tokens = pulse.tokens_per_minute
    token_limit = "" if pulse.token_limit is None else f" of {short(pulse.token_limit)}"
    told = [
        ("steps/s", "–" if speed is None else f"{speed:,.1f}"),
        ("in flight", f"{pulse.in_flight} of {pulse.limit}"),
        ("waiting", f"{pulse.waiting:,}"),
        ("429s, retries", f"{pulse.refused:,}, {pulse.retries:,}"),
        ("tokens a minute", "–" if tokens is None else f"{short(float(tokens))}{token_limit}"),
        ("time left", "–" if pulse.seconds_left is None else duration(pulse.seconds_left)),
    ]
    if pulse.cost is not None:
        budget = "" if pulse.budget is None else f" of {pulse.budget:.3g}"
        told.append(("cost", f"{pulse.cost:.3g}{budget}"))
    return [*told, *([("failed", f"{pulse.failed:,}")] if pulse.failed else [])]


# -- a run of another process


@dataclass(frozen=True)
class FileFeed:
    """Follows the files of a run that another process writes."""

    directory: RunDirectory
    kept: Kept
    total: int | None
    room: anyio.CapacityLimiter

    async def events(self) -> AsyncIterator[bytes]:
        """Yield what is written of the run, until nobody writes to it any more."""
        size = -1
        while True:
            look = partial(self._look, size)
            standing, size, told = await anyio.to_thread.run_sync(look, limiter=self.room)
            for one in told:
                yield one
            if standing in {"finished", "stopped"}:
                ended = Ended(standing=standing, said="The run goes on no more.", reload=True)
                yield event("end", ended)
                return
            await anyio.sleep(_LATER)

    def _look(self, size: int) -> tuple[str, int, list[bytes]]:
        """Return where the run stands, how much is written, and what is new."""
        standing = standing_of(self.directory)
        try:
            ledger = self.kept.ledger(self.directory)
        except BillpError as error:
            said = Ended(standing=standing, said=str(error), reload=False)
            return "stopped", size, [event("end", said)]
        told = [event("tick", self._tick(standing, ledger))]
        if ledger.size != size:
            trend = self.kept.known_trend(self.directory)
            if trend is not None:
                told.append(event("trend", course_rows(trend.refresh(ledger))))
        return standing, ledger.size, told

    def _tick(self, standing: str, ledger: Ledger) -> Tick:
        rows = [row for row in ledger.rows() if row.end == "finished"]
        count = len(rows)
        rewards = fsum(row.reward for row in rows) / count if count else None
        length = sum(row.length for row in rows) / count if count else None
        total = len(ledger) if self.total is None else self.total
        return Tick(standing=standing, tiles=_tiles(rewards, length, len(ledger), total))
