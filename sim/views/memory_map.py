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
from sim.views.figures import charts
from storage.runs import write_whole

Kind: TypeAlias = Literal["state", "reflection"]

KINDS: dict[AgentMemory[Any], Kind] = {
    EXPERIENCES: "state",
    VALUATIONS: "state",
    REFLECTIONS: "reflection",
}
FORMS = (".csv", ".png", ".svg", ".pdf")

_DRAWING, _INSTEAD = "a map as a picture", "--map FILE.csv"
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
        self._check()
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
        found: bytes = charts(_DRAWING, instead=_INSTEAD).drawn(self.chart(title), form)
        return found

    def chart(self, title: str) -> dict[str, Any]:
        """Return the map as a chart; raises ConfigError as `write` does."""
        self._check()
        drawing = charts(_DRAWING, instead=_INSTEAD)
        panels = [
            drawing.Points(_TITLES[kind], *self._points(kind), self._planes[kind].shares)
            for kind in self._kinds
        ]
        spec: dict[str, Any] = drawing.titled(drawing.memory_map(panels, self._bound()), title)
        return spec

    def _check(self) -> None:
        if not self._kinds:
            raise ConfigError("the memories hold no state and no reflection: nothing can be drawn")

    def _points(self, kind: Kind) -> tuple[Floats, Floats]:
        """Return where the records that are drawn lie, and the advantage of each."""
        own, plane = self._kinds[kind], self._planes[kind]
        places = [plane.places(evenly(memory.keys, _DRAWN)) for memory in own]
        advantages = [evenly(self._advantages[memory.name.name], _DRAWN) for memory in own]
        return np.concatenate(places), np.concatenate(advantages)

    def _bound(self) -> float:
        """Return the advantage of the strongest colours, which few exceed."""
        own = self._advantages.get(EXPERIENCES.name, np.array([]))
        return max(float(np.quantile(np.abs(own), 0.98)), 1e-6) if len(own) else 1.0


def _cell(text: str) -> str:
    """Return *text* for a cell of a table: a spreadsheet takes what begins so for a formula."""
    shown = visible(text, lines=True)
    return f"'{shown}" if shown.lstrip()[:1] in {"=", "+", "-", "@"} else shown
