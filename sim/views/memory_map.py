"""A map of memories: the keys of states and of reflections in a plane, coloured by advantage.

Each kind has a plane of its own, that of its two principal components: states are likened by recent
items and reflections by users' histories, and a common plane would show little but that.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import msgspec
import numpy as np

from agents.billp.memories import EXPERIENCES, REFLECTIONS, VALUATIONS
from agents.making import AgentMemory
from engine.errors import ConfigError, FileError
from engine.text import visible
from sim.analysis.memory.plane import Floats, Plane, evenly
from sim.analysis.memory.saved import Saved
from sim.views.figures import caption, check_plotting, drawn, new_figure
from storage.runs import write_whole

Kind: TypeAlias = Literal["state", "reflection"]

KINDS: dict[AgentMemory[Any], Kind] = {
    EXPERIENCES: "state",
    VALUATIONS: "state",
    REFLECTIONS: "reflection",
}
FORMS = (".csv", ".png", ".svg")

_DRAWN = 20_000  # points of a memory in a picture; more are a blot
_LAID = 100_000  # records of a memory that say where the plane lies
_TITLES: dict[Kind, str] = {
    "state": "states",
    "reflection": "reflections, by the mean advantage in their episode",
}
_COLUMNS = ("kind", "memory", "position", "episode", "x", "y", "advantage", "says")


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a map: so many *records*, of which so many are *drawn*.

    *variance*: the shares of it that the two axes show.
    """

    kind: Kind
    records: int
    drawn: int
    variance: tuple[float, float]


@dataclass(frozen=True, eq=False)
class MemoryMap:
    """The memories of a run that have anything to draw."""

    memories: Sequence[Saved]

    def write(self, path: Path, title: str) -> tuple[Panel, ...]:
        """Write the map to *path* and return what is on it.

        Raises ConfigError if there is nothing to draw or nobody who can, FileError if *path* cannot
        be written.
        """
        if not self._kinds:
            raise ConfigError("the memories hold no state and no reflection: nothing can be drawn")
        if path.suffix == ".csv":
            self._write_table(path)
            return self._panels(sys.maxsize)
        write_whole(path, self._picture(path.suffix[1:], title))
        return self._panels(_DRAWN)

    def _panels(self, most: int) -> tuple[Panel, ...]:
        return tuple(
            Panel(
                kind=kind,
                records=sum(map(len, memories)),
                drawn=sum(min(len(memory), most) for memory in memories),
                variance=self._planes[kind].shares,
            )
            for kind, memories in self._kinds.items()
        )

    @cached_property
    def _kinds(self) -> dict[Kind, list[Saved]]:
        found = {
            kind: [m for m in self.memories if KINDS.get(m.name) == kind and len(m)]
            for kind in get_args(Kind)
        }
        return {kind: memories for kind, memories in found.items() if memories}

    @cached_property
    def _planes(self) -> dict[Kind, Plane]:
        laid = {kind: [evenly(m.keys, _LAID) for m in own] for kind, own in self._kinds.items()}
        return {kind: Plane.of(tables) for kind, tables in laid.items()}

    @cached_property
    def _advantages(self) -> dict[str, Floats]:
        """The advantage of each record, by memory; a reflection's is the mean of its episode's."""
        advantages = {m.name.name: np.full(len(m), np.nan) for m in self.memories}
        own = next((m for m in self.memories if m.name == EXPERIENCES), None)
        if own is None or not len(own):
            return advantages
        pairs = np.array([(e.episode, e.record.advantage) for e in own.entries()])
        advantages[EXPERIENCES.name] = pairs[:, 1]
        episodes = pairs[:, 0].astype(np.int64)
        sums, counts = np.bincount(episodes, pairs[:, 1]), np.bincount(episodes)
        for memory in self._kinds.get("reflection", ()):
            writers = np.array([entry.episode for entry in memory.entries()])
            known = writers < len(counts)
            known[known] = counts[writers[known]] > 0
            means = sums[writers[known]] / counts[writers[known]]
            advantages[memory.name.name][known] = means
        return advantages

    # -- as a table

    def _write_table(self, path: Path) -> None:
        try:
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(_COLUMNS)
                for kind, memories in self._kinds.items():
                    for memory in memories:
                        writer.writerows(self._rows(kind, memory))
        except OSError as error:
            raise FileError(f"{path}: cannot be written: {error.strerror}") from error

    def _rows(self, kind: Kind, memory: Saved) -> Iterator[tuple[object, ...]]:
        places = self._planes[kind].places(memory.keys).tolist()
        advantages = self._advantages[memory.name.name].tolist()
        for entry, (x, y), advantage in zip(memory.entries(), places, advantages, strict=True):
            told = "" if isnan(advantage) else f"{advantage:.6g}"
            what = (kind, entry.memory, entry.position, entry.episode)
            yield *what, f"{x:.6f}", f"{y:.6f}", told, _cell(entry.says)

    # -- as a picture

    def _picture(self, form: str, title: str) -> bytes:
        check_plotting("a map as a picture", instead="--map FILE.csv")
        figure = new_figure(1 + 5.5 * len(self._kinds), 5.6)
        figure.suptitle(caption(title))
        axes = figure.subplots(1, len(self._kinds), squeeze=False)[0]
        bound = self._bound()
        for place, (kind, memories) in zip(axes, self._kinds.items(), strict=True):
            _label(place, kind, self._planes[kind])
            shown = [self._scatter(place, kind, memory, bound) for memory in memories]
            if kind == "state" and any(shown):
                figure.colorbar(next(filter(None, shown)), ax=axes.tolist(), label="advantage")
        return drawn(figure, form)

    def _scatter(self, axes: Any, kind: Kind, memory: Saved, bound: float) -> Any | None:
        """Draw the points of a memory; return those with colours, if there are any."""
        x, y = self._planes[kind].places(evenly(memory.keys, _DRAWN)).T
        advantages = evenly(self._advantages[memory.name.name], _DRAWN)
        known = ~np.isnan(advantages)
        many = len(x) > 1_000
        style = {"s": 6.0 if many else 18.0, "linewidths": 0.0, "rasterized": many}
        axes.scatter(x[~known], y[~known], color="0.55", zorder=1, **style)
        if not known.any():
            return None
        return axes.scatter(
            *(x[known], y[known]),
            c=advantages[known],
            **{"cmap": "RdBu", "vmin": -bound, "vmax": bound, "zorder": 2, **style},
        )

    def _bound(self) -> float:
        """Return the advantage of the strongest colours, which few exceed."""
        own = self._advantages.get(EXPERIENCES.name, np.array([]))
        return max(float(np.quantile(np.abs(own), 0.98)), 1e-6) if len(own) else 1.0


def _cell(text: str) -> str:
    """Return *text* for a cell of a table: a spreadsheet takes what begins so for a formula."""
    shown = visible(text, lines=True)
    return f"'{shown}" if shown.lstrip()[:1] in {"=", "+", "-", "@"} else shown


def _label(axes: Any, kind: Kind, plane: Plane) -> None:
    axes.set_title(_TITLES[kind])
    axes.set_facecolor("0.86")
    axes.set_xlabel(f"first component, {plane.shares[0]:.0%} of the variance")
    axes.set_ylabel(f"second component, {plane.shares[1]:.0%}")
