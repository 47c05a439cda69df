"""Experiments from their plan to a report: run, looked through for leaks, compared."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import msgspec

from engine.errors import FailedEpisodesError
from sim.analysis.compare import compare
from sim.analysis.comparison import Comparison
from sim.analysis.curves import Curve, curves
from sim.analysis.outcomes import RunOutcomes, check_measure, read_outcomes
from sim.experiments.experiment import (
    Experiment,
    Planned,
    Told,
    check_all,
    experiment_from,
    plan,
    prepare,
    run_all,
)
from sim.runs.loop import in_event_loop, plain_errors
from sim.runs.stopping import resuming
from storage.environments import Environment
from storage.runs import RUNS, write_whole

PLACE = RUNS / "experiment"
"""Where an experiment goes that is not told where to go."""

_NAMED = 5  # runs in a sentence


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an experiment; *checked* records were looked at for leaks."""

    runs: tuple[str, ...]
    checked: int
    comparison: Comparison
    curves: tuple[Curve, ...]

    def _repr_html_(self) -> str:
        return self.comparison._repr_html_()


def _silent(run: Planned, state: str) -> None:
    """Say nothing of a run."""


def experiment(
    what: Experiment | None = None,
    *,
    out: Path | str = PLACE,
    jobs: int | None = None,
    measure: str = "r_traj",
    reference: str | None = None,
    told: Told = _silent,
) -> Report:
    """Train and test agents with several seeds, look for leaks, and compare them.

    *jobs* runs at a time are processes of their own: one for each processor unless it is given; of
    a service, 1. What is in *out* is gone on with. *measure* and *reference* are those of
    `compare`; *told* hears what becomes of each run. Raises ConfigError for what cannot be run,
    LeakError if anything was learned from test users, FailedEpisodesError if too many episodes
    failed for a comparison; and what stopped a run. Where an event loop runs, await
    `experiment_async`.
    """
    main = partial(
        experiment_async,
        what,
        out=out,
        jobs=jobs,
        measure=measure,
        reference=reference,
        told=told,
    )
    return in_event_loop(main, twin="experiment_async")


async def experiment_async(
    what: Experiment | None = None,
    *,
    out: Path | str = PLACE,
    jobs: int | None = None,
    measure: str = "r_traj",
    reference: str | None = None,
    told: Told = _silent,
) -> Report:
    """Do what `experiment` does, inside an event loop that runs already.

    Its processes end with it, also when it is cancelled, and their runs can be resumed.
    """
    runs = plan(experiment_from(msgspec.to_builtins(what or Experiment())))
    report, _ = await conduct(runs, Path(out), jobs, measure, reference, told)
    return report


async def conduct(
    runs: Sequence[Planned],
    out: Path,
    jobs: int | None,
    measure: str,
    reference: str | None,
    told: Told,
) -> tuple[Report, FailedEpisodesError | None]:
    """Return what came of an experiment, and what is to be said if episodes of it failed."""
    check_measure(measure)
    # What reads and reckons does so in a thread: others in this loop wait for none of it.
    environment = await anyio.to_thread.run_sync(prepare, runs, out)
    with plain_errors():
        await run_all(runs, out, jobs or _jobs(runs), told)
    conclude = partial(_conclude, runs, out, environment, measure, reference)
    return await anyio.to_thread.run_sync(conclude)


def _conclude(
    runs: Sequence[Planned],
    out: Path,
    environment: Environment,
    measure: str,
    reference: str | None,
) -> tuple[Report, FailedEpisodesError | None]:
    checked = check_all(runs, out, environment)
    paths = [out / run.name for run in runs]
    outcomes = [read_outcomes(path, measure) for path in paths]
    failed = _failed(outcomes)
    if failed is not None and not all(run.judged for run in outcomes):
        raise failed
    report = Report(
        runs=tuple(map(str, paths)),
        checked=checked,
        comparison=compare(paths, measure=measure, reference=reference),
        curves=curves(outcomes, measure),
    )
    write_whole(out / "report.json", msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return report, failed


def _failed(runs: Sequence[RunOutcomes]) -> FailedEpisodesError | None:
    """Return what is to be said of runs with failed episodes, if there are any."""
    ill = [run for run in runs if run.failed]
    if not ill:
        return None
    named = [f"{run.path.name} ({run.failed:,} of {run.episodes:,})" for run in ill]
    more = f" and {len(ill) - _NAMED:,} more" if len(ill) > _NAMED else ""
    which = ", ".join(named[:_NAMED]) + more
    plural = "" if len(runs) == 1 else "s"
    return FailedEpisodesError(
        f"episodes failed in {len(ill):,} of {len(runs):,} run{plural}: {which}",
        hint=f"ask failed calls again: {resuming(ill[0].path)} --retry-failed; then the same again",
    )


def _jobs(runs: Sequence[Planned]) -> int:
    # A service's limits are those of an account, and processes do not know of each other's calls.
    if any(run.config.model != "embedded" for run in runs):
        return 1
    return os.cpu_count() or 1
