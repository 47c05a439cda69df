"""`billp experiment`: agents and seeds by a protocol, run side by side, checked and compared."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from engine.errors import ConfigError, FailedEpisodesError
from sim.analysis.compare import compare
from sim.analysis.comparison import Comparison
from sim.analysis.curves import Curve, curves
from sim.analysis.outcomes import Measure, RunOutcomes, read_outcomes
from sim.commands.compare import FormOptions
from sim.commands.options import gathered
from sim.config.layers import merged, parse_set, read_config
from sim.experiments.experiment import (
    Planned,
    ProtocolName,
    check_all,
    experiment_from,
    plan,
    prepare,
    run_all,
)
from sim.runs.loop import in_event_loop
from sim.runs.stopping import resuming
from sim.views.comparison import as_latex, as_markdown, comparison_page
from sim.views.console import plain, write, write_json
from sim.views.curve import curve_tables
from storage.runs import write_whole

_EXPERIMENTS = Path("traces") / "runs" / "experiment"
_MEANING = {"failed": ", some of its episodes"}
_NAMED = 5  # runs in a sentence


@dataclass(frozen=True)
class WhatOptions:
    """What is run; what is not given is left to the file."""

    agents: Annotated[
        str | None, typer.Option(help="Agents, with commas.", show_default="billp,reflexion,random")
    ] = None
    seeds: Annotated[str | None, typer.Option(help="Seeds, with commas.", show_default="1,2,3")] = (
        None
    )
    protocol: Annotated[
        ProtocolName | None,
        typer.Option(help="How agents are trained and tested.", show_default="frozen"),
    ] = None
    env: Annotated[str | None, typer.Option(help="The environment.", show_default="synthetic")] = (
        None
    )
    episodes: Annotated[int | None, typer.Option(help="Training episodes.")] = None
    test_episodes: Annotated[int | None, typer.Option(help="Test users.")] = None
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any setting of the runs but agent and seed.", metavar="KEY=VALUE"
        ),
    ] = None

    def settings(self) -> dict[str, Any]:
        """Return the layer of settings that the options make."""
        named = {
            "environment": self.env,
            "episodes": self.episodes,
            "test_episodes": self.test_episodes,
        }
        given = {name: value for name, value in named.items() if value is not None}
        runs = merged(given, *map(parse_set, self.set or []))
        what: dict[str, Any] = {"settings": runs} if runs else {}
        if self.agents is not None:
            what["agents"] = [name.strip() for name in self.agents.split(",")]
        if self.seeds is not None:
            what["seeds"] = [_seed(text) for text in self.seeds.split(",")]
        if self.protocol is not None:
            what["protocol"] = self.protocol
        return what


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"seeds are whole numbers with commas, got {text!r}") from error


@dataclass(frozen=True)
class HowOptions:
    """Where it goes, how many at a time, and how it is compared."""

    out: Annotated[
        Path, typer.Option(help="The experiment's directory; what is in it is gone on with.")
    ] = _EXPERIMENTS
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Runs at a time.", show_default="one for each processor; with a service, 1"
        ),
    ] = None
    measure: Annotated[Measure, typer.Option(help="What is compared.")] = "r_traj"
    reference: Annotated[
        str | None,
        typer.Option(help="The group that others are compared with.", show_default="the first"),
    ] = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an experiment; *checked* records were looked at for leaks."""

    runs: tuple[str, ...]
    checked: int
    comparison: Comparison
    curves: tuple[Curve, ...]


@dataclass(eq=False)
class _Progress:
    """Says on standard error what becomes of each run."""

    total: int
    quiet: bool
    done: int = 0
    console: Console = field(default_factory=lambda: plain(stderr=True))

    def __call__(self, run: Planned, state: str) -> None:
        self.done += state in {"done", "failed", "there"}
        if not self.quiet:
            line = f"{self.done:>3} of {self.total} done · {run.name}: {state}"
            self.console.print(line + _MEANING.get(state, ""), soft_wrap=True)


# What stands in brackets would be taken for markup.
_FILE = r"A TOML file: agents, seeds, protocol, \[settings] of the runs, values to \[sweep]."


@gathered
def experiment(
    what: WhatOptions,
    how: HowOptions,
    form: FormOptions,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help=_FILE),
    ] = None,
) -> None:
    """Train and test agents with several seeds, look for leaks, and compare them.

    The same command goes on with an experiment that was stopped. Exit status 3 if episodes failed.
    """
    runs = plan(experiment_from({} if file is None else read_config(file), what.settings()))
    environment = prepare(runs, how.out)
    progress = _Progress(len(runs), quiet=form.json)
    in_event_loop(partial(run_all, runs, how.out, how.jobs or _jobs(runs), progress))
    checked = check_all(runs, how.out, environment)
    paths = [how.out / run.name for run in runs]
    outcomes = [read_outcomes(path) for path in paths]
    failed = _failed(outcomes)
    if failed is not None and not all(run.judged for run in outcomes):
        raise failed
    found = compare(paths, measure=how.measure, reference=how.reference)
    report = Report(
        runs=tuple(map(str, paths)),
        checked=checked,
        comparison=found,
        curves=curves(outcomes, how.measure),
    )
    write_whole(how.out / "report.json", msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    write_whole(how.out / "report.md", as_markdown(found).encode())
    _tell(report, form, how.out)
    if failed is not None:
        sys.stdout.flush()
        raise failed


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


def _jobs(runs: tuple[Planned, ...]) -> int:
    # A service's limits are those of an account, and processes do not know of each other's calls.
    if any(run.config.model != "embedded" for run in runs):
        return 1
    return os.cpu_count() or 1


def _tell(report: Report, form: FormOptions, out: Path) -> None:
    if form.json:
        write_json(report)
    elif form.markdown:
        write(as_markdown(report.comparison))
    elif form.latex:
        write(as_latex(report.comparison))
    else:
        console = plain(folding=False)
        for table in curve_tables(report.curves):
            console.print(table)
        console.print(comparison_page(report.comparison))
        console.print(f"No leak among {report.checked:,} records. All of it: {out}/report.json")
