"""What came of the visits of a run whose actions are taken again elsewhere."""

from dataclasses import dataclass
from pathlib import Path

from engine.messages import ActionTaken, EpisodeStarted, UserResponded
from sim.config.run import RunConfig, Settings
from sim.library.run import Run
from storage.datasets.synthetic import build_synthetic
from tests.support.small import Trace, only, recorded, trace_of

SMALL = build_synthetic(seed=2, users=30, items=200, categories=8)
VISITS = 40  # more than there are training users: some come again
LIMIT = 12

PLAIN: Settings = {"quit_rule": "billp", "rewards": {"satiation": [0.0, 0.0]}}
OURS: Settings = {"quit_rule": "quantile", "rewards": {"satiation": [0.0, 0.6]}}
PATIENT: Settings = {**PLAIN, "quit": {"window": 0, "lowest": 0.0}}
RULES: list[Settings] = [
    PLAIN,
    {**PLAIN, "quit": {"window": 9, "first_step": False}, "rewards": {"offset": -0.3}},
    OURS,
    {**OURS, "quit": {"quantile": 0.1, "tolerance": [0.2, 1.2]}},
    {**OURS, "rewards": {"satiation": [0.3, 0.3], "recovery": 1.0, "drift": 0.3}},
    {**OURS, "quit": {"quantile": 0.0, "window": 0}, "rewards": {"drift": 0.05}},
    {"quit_rule": "category", "rewards": {"satiation": [0.0, 1.0], "drift": 0.2}},
    {**PLAIN, "quit_rule": "temper", "quit": {"initial": 6.0}},
    {**PLAIN, "quit_rule": "hazard", "quit": {"rate": 0.1, "disappointment": 0.02}},
    {**OURS, "quit_rule": "quantile+hazard", "quit": {"hazard": {"rate": 0.1}}},
]
"""Quit rules and what changes rewards, counted together and asked one by one."""


@dataclass(frozen=True)
class Visited:
    """A visit: who came, what was recommended, and what was said to it."""

    user: int
    session: int
    items: tuple[int, ...]
    said: tuple[UserResponded, ...]


@dataclass(frozen=True)
class Played:
    """The *visits* of a run by *config*."""

    config: RunConfig
    visits: list[Visited]


def played(out: Path, settings: Settings) -> Played:
    """Return a run of the agent `random` in the small world."""
    how = {"agent": "random", "episodes": VISITS, "arrivals": "all", "limit": LIMIT, **settings}
    run = recorded(out, environment=SMALL, **how)
    trace = trace_of(run)
    visits = [[line for line in trace if line.episode == number] for number in range(VISITS)]
    return Played(Run.open(run.path).config, [_visited(visit) for visit in visits])


def _visited(visit: Trace) -> Visited:
    (started,) = only(visit, EpisodeStarted)
    items = tuple(action.item for action in only(visit, ActionTaken))
    return Visited(started.user, started.session, items, tuple(only(visit, UserResponded)))
