"""Experiments from their plan to a report: run, looked through for leaks, compared."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import msgspec

from engine.errors import FailedEpisodesError
from sim.analysis.compare import compare, differences_of_seeds
from sim.analysis.comparison import Comparison
from sim.analysis.curves import Curve, curves
from sim.analysis.outcomes import RunOutcomes, check_measure, read_outcomes
from sim.analysis.sequences import Decision, decided, kept
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
from sim.runs.loop import in_event_loop, in_their_loop
from sim.runs.stopping import resuming
from storage.environments import Environment
from storage.runs import RUNS, write_whole

PLACE = RUNS / "experiment"
"""Where an experiment goes that is not told where to go."""

_NAMED = 5  # runs in a sentence


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an experiment; *checked* records were looked at for leaks.

    *decisions* are those of an experiment until decided, after the last of its seeds.
    """

    runs: tuple[str, ...]
    checked: int
    decisions: tuple[Decision, ...] = ()
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

    Seeds are those that it names or, until decided, as many as that takes.

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
    whole = experiment_from(msgspec.to_builtins(what or Experiment()))
    conducted = Conduct(whole, Path(out), jobs, measure, reference, told)
    report, _ = await conducted.whole()
    return report


@dataclass(frozen=True)
class Conduct:
    """An experiment under way: where it goes, how many runs at a time, and how it is compared."""

    experiment: Experiment
    out: Path
    jobs: int | None
    measure: str
    reference: str | None
    told: Told

    async def whole(self) -> tuple[Report, FailedEpisodesError | None]:
        """Return what came of it, and what is to be said if episodes failed."""
        check_measure(self.measure)
        runs = plan(self.experiment)
        # What reads and reckons does so in a thread: others in this loop wait for none of it.
        environment = await anyio.to_thread.run_sync(prepare, runs, self.out)
        decisions: tuple[Decision, ...] = ()
        if self.experiment.until:
            runs, decisions = await self._until(runs)
        else:
            await self._run(runs)
        conclude = partial(self._conclude, runs, environment, decisions)
        return await anyio.to_thread.run_sync(conclude)

    async def _run(self, runs: Sequence[Planned]) -> None:
        with in_their_loop():
            await run_all(runs, self.out, self.jobs or _jobs(runs), self.told)

    async def _until(
        self, runs: Sequence[Planned]
    ) -> tuple[tuple[Planned, ...], tuple[Decision, ...]]:
        """Run seed after seed until all is decided; return what was run, and the decisions."""
        done: list[Planned] = []
        read: list[RunOutcomes] = []
        decisions: tuple[Decision, ...] = ()
        for seed in self.experiment.every_seed:
            added = [run for run in runs if run.config.seed == seed]
            await self._run(added)
            done += added
            read += await anyio.to_thread.run_sync(self._outcomes, added)
            gaps = differences_of_seeds(read, measure=self.measure, reference=self.reference)
            decisions = kept(decisions, decided(gaps, effect=self.experiment.effect))
            if not any(decision.open for decision in decisions):
                break
        return tuple(run for run in runs if run in done), decisions

    def _outcomes(self, runs: Sequence[Planned]) -> list[RunOutcomes]:
        read = [read_outcomes(self.out / run.name, self.measure) for run in runs]
        failed = _failed(read)
        if failed is not None and not all(run.judged for run in read):
            raise failed
        return read

    def _conclude(
        self,
        runs: Sequence[Planned],
        environment: Environment,
        decisions: tuple[Decision, ...],
    ) -> tuple[Report, FailedEpisodesError | None]:
        checked = check_all(runs, self.out, environment)
        outcomes = self._outcomes(runs)
        paths = [self.out / run.name for run in runs]
        compared = compare(paths, measure=self.measure, reference=self.reference)
        report = Report(
            runs=tuple(map(str, paths)),
            checked=checked,
            decisions=decisions,
            comparison=msgspec.structs.replace(
                compared, notes=(*_stopped(decisions), *compared.notes)
            ),
            curves=curves(outcomes, self.measure),
        )
        encoded = msgspec.json.format(msgspec.json.encode(report))
        write_whole(self.out / "report.json", encoded + b"\n")
        return report, _failed(outcomes)


def _stopped(decisions: Sequence[Decision]) -> Iterator[str]:
    """Say why no more seeds were added, if they were added one by one."""
    if decisions:
        seeds = max(decision.seeds for decision in decisions)
        still = any(decision.open for decision in decisions)
        why = "as many as were allowed" if still else "when all was decided"
        yield f"seeds were added up to {seeds}, {why}, by confidence sequences (arXiv 2310.03722)"
        yield from map(str, decisions)
        yield "the other intervals and p make no allowance for this stopping: go by these"


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
    # A service's limits are those of an account, and processes do not know of each other's calls
    # unless they share them.
    if any(run.config.model != "embedded" and not run.config.share_limits for run in runs):
        return 1
    return max(1, (os.cpu_count() or 1) // max(run.config.workers for run in runs))
