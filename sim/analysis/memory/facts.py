"""What the memories of a run were good for: what was kept, recalled, and whether it paid to follow.

None of it says what caused what: users and states differ between what is compared.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.billp.memories import EXPERIENCES, REFLECTIONS
from agents.making import AgentMemory
from engine.messages import Phase, number
from sim.analysis.memory.trace import Recalls, read_recalls

Advice: TypeAlias = Literal["encouraged", "discouraged", "both", "neither", "nothing recalled"]
"""What the actor recalled of the very item that it then recommended.

Records with an advantage of at least 0, below 0, of both kinds, or none among those recalled.
"""

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)

CAUTION = (
    "Observed, not caused: the users and states that are compared differ (early episodes, for one, "
    "have nothing to recall), so a difference need not be the memory's work."
)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A memory: *records* of so many *writers*, which are episodes, and how it was recalled.

    It was *asked* so often, *answered* with anything so often, and gave back *recalls* records,
    *recalled* different ones, to so many *readers*, which are episodes. *distances* are the
    `QUANTILES` of how far they were (cosine, 0–2); empty if nothing was recalled.
    """

    memory: str
    records: int
    writers: int
    asked: int
    answered: int
    recalls: int
    recalled: int
    readers: int
    distances: tuple[float, ...]


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """Steps by the *advice* that the actor had on the item it recommended.

    *step*: their mean number. *reward*: mean. *left*: share at which the user left. *to_go*: mean
    sum of the rewards from the step, inclusive, to the end of its episode. None if there are none.
    """

    advice: Advice
    steps: int
    step: float | None
    reward: float | None
    left: float | None
    to_go: float | None


class Guided(msgspec.Struct, frozen=True, kw_only=True):
    """Episodes of a *phase* in which the planner *recalled* reflections, or did not; means."""

    phase: Phase
    recalled: bool
    episodes: int
    len: float | None
    r_traj: float | None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a trace tells of memories, of the *episodes* that did not fail.

    *followed* and *guided* are empty where the agent has no memory of that kind.
    """

    episodes: int
    failed: int
    memories: tuple[Kept, ...]
    followed: tuple[Followed, ...]
    guided: tuple[Guided, ...]


def facts_of(trace: Path, memories: Sequence[AgentMemory[Any]]) -> Facts:
    """Return what *trace* tells of *memories*; raises TraceError."""
    recalls = read_recalls(trace, memories)
    return Facts(
        episodes=len(recalls.visits),
        failed=recalls.failed,
        memories=tuple(_kept(recalls, memory.name) for memory in memories),
        followed=tuple(followed(recalls)) if EXPERIENCES in memories else (),
        guided=tuple(guided(recalls)) if REFLECTIONS in memories else (),
    )


def _kept(recalls: Recalls, name: str) -> Kept:
    log, found = recalls.logs[name], recalls.found[name]
    spread = np.quantile(found["distance"], QUANTILES).tolist() if len(found) else []
    return Kept(
        memory=name,
        records=len(log),
        writers=len(np.unique(log["episode"])),
        asked=recalls.asked.get(name, 0),
        answered=recalls.answered.get(name, 0),
        recalls=len(found),
        recalled=len(np.unique(found["position"])),
        readers=len(np.unique(found["episode"])),
        distances=tuple(map(number, spread)),
    )


def followed(recalls: Recalls) -> Iterator[Followed]:
    """Yield what came of the steps, by the advice that there was on their item."""
    advice = _advice(recalls)
    for place, name in enumerate(get_args(Advice)):
        steps = recalls.steps[advice == place]
        means = {column: mean(steps[column]) for column in ("step", "reward", "left", "to_go")}
        yield Followed(advice=name, steps=len(steps), **means)


def _advice(recalls: Recalls) -> NDArray[np.int64]:
    """Return the place in `Advice` of each step."""
    log, found = recalls.logs[EXPERIENCES.name], recalls.found[EXPERIENCES.name]
    visits, count = recalls.visits, len(recalls.steps)
    first = np.cumsum(visits["steps"]) - visits["steps"]
    rows = first[np.searchsorted(visits["episode"], found["episode"])] + found["step"]
    records = log[found["position"]]
    same = records["item"] == recalls.steps["item"][rows]
    good, bad, told = np.zeros((3, count), np.bool_)
    good[rows[same & (records["advantage"] >= 0)]] = True
    bad[rows[same & (records["advantage"] < 0)]] = True
    told[rows] = True
    cases = [good & ~bad, bad & ~good, good & bad, told, ~told]
    return np.select(cases, list(range(len(cases))))


def guided(recalls: Recalls) -> Iterator[Guided]:
    """Yield what came of the episodes, by phase and by whether reflections were recalled."""
    for phase in get_args(Phase):
        visits = recalls.visits[recalls.visits["test"] == (phase == "test")]
        for recalled in (True, False) if len(visits) else ():
            chosen = visits[visits["guided"] == recalled]
            yield Guided(
                phase=phase,
                recalled=recalled,
                episodes=len(chosen),
                len=mean(chosen["length"]),
                r_traj=mean(chosen["reward"]),
            )


def mean(values: NDArray[Any]) -> float | None:
    """Return the mean of *values* to 6 digits; None of nothing."""
    return number(float(np.mean(values))) if len(values) else None
