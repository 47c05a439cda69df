"""`billp experiment`: agents and seeds by a protocol, run side by side, checked and compared."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from engine.errors import ConfigError
from sim.commands.compare import FormOptions
from sim.commands.located import environment_option
from sim.commands.options import gathered
from sim.config.layers import merged, parse_set, read_config
from sim.config.run import Settings
from sim.experiments.conduct import PLACE, Conduct, Report
from sim.experiments.experiment import (
    Experiment,
    Planned,
    ProtocolName,
    experiment_from,
    plan,
)
from sim.experiments.slurm import Submitted, check_cells, enter, submit
from sim.runs.loop import in_event_loop
from sim.views.comparison import as_latex, as_markdown, comparison_page
from sim.views.console import plain, write, write_json
from sim.views.curve import curve_tables
from storage.runs import write_whole

_MEANING = {"failed": ", some of its episodes"}


@dataclass(frozen=True)
class WhatOptions:
    """What is run; what is not given is left to the file."""

    agents: Annotated[
        str | None, typer.Option(help="Agents, with commas.", show_default="billp,reflexion,random")
    ] = None
    seeds: Annotated[
        str | None, typer.Option(help="Seeds, with commas.", show_default="1,2, … 10")
    ] = None
    protocol: Annotated[
        ProtocolName | None,
        typer.Option(help="How agents are trained and tested.", show_default="frozen"),
    ] = None
    environment: Annotated[str | None, environment_option("The environment.", "synthetic")] = None
    episodes: Annotated[int | None, typer.Option(help="Training episodes.")] = None
    test_episodes: Annotated[int | None, typer.Option(help="Test users.")] = None
    until: Annotated[
        Literal["decided"] | None,
        typer.Option(help="Add seeds one by one until it is known who gets more."),
    ] = None
    effect: Annotated[
        float | None, typer.Option(help="Until decided: a difference within ± this is none.")
    ] = None
    most_seeds: Annotated[
        int | None, typer.Option(help="Until decided: the most seeds.", show_default="30")
    ] = None
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any setting of the runs but agent and seed.", metavar="KEY=VALUE"
        ),
    ] = None

    def settings(self) -> dict[str, Any]:
        """Return the layer of settings that the options make."""
        named = {
            "environment": self.environment,
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
        own = {
            "protocol": self.protocol,
            "until": self.until,
            "effect": self.effect,
            "most_seeds": self.most_seeds,
        }
        return what | {name: value for name, value in own.items() if value is not None}


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
    ] = PLACE
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Runs at a time.", show_default="one for each processor; with a service, 1"
        ),
    ] = None
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Submit what is not done as array jobs, and return.")
    ] = False
    sbatch: Annotated[
        list[str] | None,
        typer.Option(help="An option of sbatch, as --sbatch=--partition=cpu.", metavar="OPTION"),
    ] = None
    merge: Annotated[
        bool, typer.Option("--merge", help="Run nothing: verify what jobs did, and compare.")
    ] = False
    cell: Annotated[str | None, typer.Option(hidden=True)] = None
    measure: Annotated[str, typer.Option(help="What is compared.")] = "r_traj"
    reference: Annotated[
        str | None,
        typer.Option(help="The group that others are compared with.", show_default="the first"),
    ] = None

    def check(self) -> None:
        """Raise ConfigError for options that do not go together."""
        if self.slurm and self.merge:
            raise ConfigError("--slurm submits and --merge compares what is done", hint="give one")
        if self.sbatch and not self.slurm:
            raise ConfigError("options of sbatch are for --slurm", hint="add --slurm")


@dataclass(eq=False)
class _Progress:
    """Says on standard error what becomes of each run."""

    total: str
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
    With --slurm it is submitted, run by run, and --merge compares when it is done.
    """
    how.check()
    if how.cell is not None:
        enter(how.out, how.cell)
        return
    whole, count = _planned(file, what.settings())
    if how.slurm:
        _tell_submitted(submit(whole, how.out, how.jobs, how.sbatch or ()), form)
        return
    if how.merge:
        check_cells(plan(whole), how.out)
    most = "at most " if whole.until else ""
    progress = _Progress(f"{most}{count}", quiet=form.json)
    conduct = Conduct(whole, how.out, how.jobs, how.measure, how.reference, progress)
    report, failed = in_event_loop(conduct.whole)
    write_whole(how.out / "report.md", as_markdown(report.comparison).encode())
    _tell(report, form, how.out)
    if failed is not None:
        sys.stdout.flush()
        raise failed


def _tell_submitted(submitted: Submitted, form: FormOptions) -> None:
    if form.json:
        write_json(submitted)
        return
    console = plain(folding=False)
    if submitted.jobs:
        what = f"Submitted {submitted.cells:,} runs as {', '.join(submitted.jobs)}"
        console.print(f"{what}; {submitted.already:,} were done already.")
    else:
        console.print(f"All {submitted.already:,} runs are done.")
    console.print("When all are done, the same with --merge in place of --slurm compares them.")


def _planned(file: Path | None, asked: Settings) -> tuple[Experiment, int]:
    """Return the experiment and how many runs it has; an error that the *file* makes names it."""
    if file is None:
        whole = experiment_from(asked)
        return whole, len(plan(whole))
    told = read_config(file)
    try:
        whole = experiment_from(told, asked)
        return whole, len(plan(whole))
    except ConfigError as error:
        if str(error) == _refusal(asked):
            raise
        raise ConfigError(f"{file}: {error}", hint=error.hint) from error


def _refusal(asked: Settings) -> str:
    """Return what is wrong with what was *asked* for by itself, if anything is."""
    try:
        plan(experiment_from(asked))
    except ConfigError as error:
        return str(error)
    return ""


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
