"""One record of a memory, and its surroundings: what is near it, who recalled it, what followed."""

from collections.abc import Sequence
from math import isnan

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.messages import number
from sim.analysis.memory.plane import Plane, evenly
from sim.analysis.memory.saved import Entry, Found, Saved
from sim.analysis.memory.trace import Recalls, Rows

MOST = 20_000
"""Records that a map draws at most; more are a blot."""

_LAID = 20_000  # records that say where the plane lies


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """A recall of a record: where, how far it was, and what came of that step.

    *step* is a state where the memory is asked in states; *reward* is that of the step, None where
    there was none; *left* whether the user left at it.
    """

    episode: int
    step: int
    distance: float
    reward: float | None
    left: bool


class Uses(msgspec.Struct, frozen=True, kw_only=True):
    """All recalls of a record: how many, in how many episodes, the *first* of them one by one.

    *reward* and *left* are means over the steps; None if there are none.
    """

    count: int
    episodes: int
    reward: float | None
    left: float | None
    first: tuple[Use, ...]


class Map(msgspec.Struct, frozen=True, kw_only=True):
    """Where records lie in the plane of their keys' two principal components.

    *drawn* of *records* are given, evenly over all: their *positions*, *x* and *y* (0 to 10,000,
    the same scale on both axes), the *episodes* that wrote them, and their *advantages*, None where
    they have none. *variance* are the shares that the axes show.
    """

    memory: str
    records: int
    drawn: int
    variance: tuple[float, float]
    positions: list[int]
    x: list[int]
    y: list[int]
    episodes: list[int]
    advantages: list[float | None]


def neighbours(memory: Saved, position: int, count: int) -> list[Found]:
    """Return the *count* records nearest to that at *position*, itself left out."""
    found = memory.nearest(memory.keys[position], count + 1)
    return [one for one in found if one.entry.position != position][:count]


def uses(recalls: Recalls, memory: str, position: int, most: int) -> Uses:
    """Return who recalled the record at *position* of a *memory*, the first *most* one by one."""
    found = recalls.found[memory]
    found = found[found["position"] == position]
    rows = _steps(recalls, found)
    known = rows >= 0
    rewards, left = recalls.steps["reward"][rows[known]], recalls.steps["left"][rows[known]]
    return Uses(
        count=len(found),
        episodes=len(np.unique(found["episode"])),
        reward=number(float(rewards.mean())) if len(rewards) else None,
        left=number(float(left.mean())) if len(left) else None,
        first=tuple(
            _use(recalls, one, int(row)) for one, row in zip(found[:most], rows, strict=False)
        ),
    )


def _use(recalls: Recalls, found: np.void, row: int) -> Use:
    step = recalls.steps[row] if row >= 0 else None
    return Use(
        episode=int(found["episode"]),
        step=int(found["step"]),
        distance=float(found["distance"]),
        reward=None if step is None else float(step["reward"]),
        left=step is not None and bool(step["left"]),
    )


def _steps(recalls: Recalls, found: Rows) -> NDArray[np.int64]:
    """Return the row of the step of each recall, −1 for a state that no step followed."""
    visits = recalls.visits
    first = np.cumsum(visits["steps"]) - visits["steps"]
    places = np.searchsorted(visits["episode"], found["episode"])
    inside = found["step"] < visits["steps"][places] if len(found) else np.zeros(0, np.bool_)
    return np.where(inside, first[places] + found["step"], -1) if len(found) else np.zeros(0, int)


def map_of(memory: Saved, advantages: Sequence[float | None] | None = None) -> Map:
    """Return where the records of a *memory* lie; *advantages* are of all, where it has its own."""
    count = len(memory)
    positions = evenly(np.arange(count), MOST)
    plane = Plane.of([evenly(memory.keys, _LAID)])
    places = plane.places(memory.keys[positions])
    x, y = _scaled(places)
    entries = memory.at(positions.tolist())
    chosen = [entries[position] for position in positions.tolist()]
    told = [_advantage(entry) for entry in chosen]
    if advantages is not None:
        told = [
            advantages[entry.episode] if entry.episode < len(advantages) else None
            for entry in chosen
        ]
    return Map(
        memory=memory.name.name,
        records=count,
        drawn=len(positions),
        variance=plane.shares,
        positions=positions.tolist(),
        x=x.tolist(),
        y=y.tolist(),
        episodes=[entry.episode for entry in chosen],
        advantages=told,
    )


def _scaled(places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return coordinates [2, n] from 0 to 10,000; one scale for both, so distances look alike."""
    low, high = places.min(axis=0), places.max(axis=0)
    span = max(float((high - low).max()), 1e-9)
    middle = (low + high) / 2
    scaled: NDArray[np.int64] = np.rint((places - middle) / span * 10_000 + 5_000).astype(np.int64)
    return scaled.T


def _advantage(entry: Entry) -> float | None:
    value = getattr(entry.record, "advantage", None)
    return value if isinstance(value, float) and not isnan(value) else None


def of_episodes(recalls: Recalls, memory: str) -> list[float | None]:
    """Return the mean advantage of what each episode left in a *memory*, by episode."""
    log = recalls.logs[memory]
    if not len(log):
        return []
    sums = np.bincount(log["episode"], log["advantage"])
    counts = np.bincount(log["episode"])
    return [
        number(s / n) if n else None for s, n in zip(sums.tolist(), counts.tolist(), strict=True)
    ]
