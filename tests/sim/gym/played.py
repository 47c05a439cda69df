"""What came of the visits of a run, and the same actions taken elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.messages import ActionTaken, EpisodeStarted, UserResponded
from storage.datasets.synthetic import build_synthetic
from tests.support.small import Trace, only, recorded, trace_of

SMALL = build_synthetic(seed=2, users=30, items=200, categories=8)
VISITS = 40  # more than there are users: some come again

OURS = {"quit_rule": "quantile", "rewards": {"satiation": [0.0, 0.6]}}
RULES: list[dict[str, Any]] = [
    {},
    {"quit": {"window": 9, "lowest": 2.5, "first_step": False}, "rewards": {"offset": -0.3}},
    OURS,
    {**OURS, "quit": {"quantile": 0.1, "tolerance": [0.2, 1.2]}},
    {**OURS, "rewards": {"satiation": [0.3, 0.3], "recovery": 1.0, "drift": 0.3}},
    {**OURS, "quit": {"quantile": 0.0, "window": 0}, "rewards": {"drift": 0.05}},
    {"quit_rule": "category", "rewards": {"satiation": [0.0, 1.0], "drift": 0.2}},
    {"quit_rule": "temper", "quit": {"initial": 6.0}},
    {"quit_rule": "hazard", "quit": {"rate": 0.1, "disappointment": 0.02}},
    {"quit_rule": "quantile+hazard", "quit": {"hazard": {"rate": 0.1}}},
]
"""Quit rules and what changes rewards, measured and asked one by one."""


@dataclass(frozen=True)
class Played:
    """A visit: who came, what was recommended, and what was said to it."""

    user: int
    session: int
    items: tuple[int, ...]
    said: tuple[UserResponded, ...]


def played(out: Path, **settings: Any) -> list[Played]:
    """Return the visits of a run of the agent `random` in the small world."""
    how = {"agent": "random", "episodes": VISITS, "arrivals": "all", "limit": 12, **settings}
    trace = trace_of(recorded(out, environment=SMALL, **how))
    visits = [[line for line in trace if line.episode == number] for number in range(VISITS)]
    return [_visit(visit) for visit in visits]


def _visit(trace: Trace) -> Played:
    (started,) = only(trace, EpisodeStarted)
    items = tuple(action.item for action in only(trace, ActionTaken))
    return Played(started.user, started.session, items, tuple(only(trace, UserResponded)))
