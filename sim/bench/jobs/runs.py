"""What whole runs cost: live, replayed and resumed, with all that a run writes.

A small run comes first in each process: what is imported, read or made once is counted nowhere.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from engine.errors import BillpError, BudgetError
from sim.bench.cost import Cost, cost_of
from sim.config.layers import configured
from sim.config.run import RunConfig, Settings
from sim.experiments.conduct import experiment
from sim.experiments.experiment import Experiment
from sim.runs.replay import Playing, replay
from sim.runs.resume import resume
from sim.runs.run import run
from storage.environments import Environment

_WARM = 5  # episodes, of another seed than those that count


def embedded(
    episodes: int,
    arrivals: str,
    agent: str = "billp",
    workers: int = 1,
    world: Environment | None = None,
) -> Cost:
    """Run the stand-in; counted are steps. The *world* is opened, unless it is given."""
    settings = {"episodes": episodes, "arrivals": arrivals, "agent": agent, "workers": workers}
    if arrivals == "all":
        settings["concurrency"] = 64
    with tempfile.TemporaryDirectory() as place:
        return live(Path(place) / "run", world, **settings)


def alone(episodes: int, world: Environment | None = None) -> Cost:
    """Run the agent `random`, which asks no model: what the kernel, the world and files cost."""
    return embedded(episodes, "all", agent="random", world=world)


def live(out: Path | str, world: Environment | None = None, **settings: object) -> Cost:
    """Run what *settings* say; counted are steps."""
    config = configured(dict(settings))
    warm(config, world)
    found: dict[str, float] = {}

    def work() -> int:
        summary = run(config, out=out, environment=world)
        found["messages"], found["calls"] = summary.messages, summary.calls
        return summary.all_steps

    cost = cost_of(work)
    size = (Path(out) / "trace.jsonl").stat().st_size
    cost.told.update(found, line=size / found["messages"])
    return cost


def warm(config: RunConfig, world: Environment | None = None) -> None:
    """Run a little of the same kind."""
    with tempfile.TemporaryDirectory() as place:
        few: Settings = {"episodes": _WARM, "seed": config.seed + 1, "workers": 1, "max_calls": 0}
        run(configured(config.settings(), few), out=Path(place) / "run", environment=world)


def conducted(seeds: int, episodes: int, jobs: int) -> Cost:
    """Conduct an experiment of so many seeds, *jobs* runs at a time; counted are its runs."""
    settings = {"episodes": episodes, "test_episodes": 10, "arrivals": "batches:10"}
    what = Experiment(agents=("billp",), seeds=(*range(1, seeds + 1),), settings=settings)
    with tempfile.TemporaryDirectory() as place:
        return cost_of(lambda: len(experiment(what, out=place, jobs=jobs).runs))


def replayed(out: Path | str, **how: Unpack[Playing]) -> Cost:
    """Replay a run, or what is asked for of it; counted are envelopes, and each is as it was."""
    warm(RunConfig())

    def work() -> int:
        done = replay(out, **how)
        if not done.agrees:
            raise BillpError(f"{out} does not replay to the same bytes")
        return done.envelopes

    return cost_of(work)


def stopped(out: Path | str, calls: int, **settings: object) -> Cost:
    """Run until so many calls are spent; counted are they."""
    config = configured(dict(settings), {"max_calls": calls})
    warm(config)
    return cost_of(_until_spent(lambda: run(config, out=out), calls))


def resumed(out: Path | str, calls: int) -> Cost:
    """Resume a run whose calls are spent, to where it would ask again; counted are its calls."""
    warm(RunConfig())
    return cost_of(_until_spent(lambda: resume(out), calls))


def _until_spent(work: Callable[[], object], calls: int) -> Callable[[], int]:
    def spending() -> int:
        try:
            work()
        except BudgetError:
            return calls
        raise BillpError(f"the run came to its end before {calls:,} calls were spent")

    return spending
