"""`billp compare`: recorded runs side by side, with intervals and tests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from engine.errors import ConfigError
from sim.analysis.compare import compare as compare_runs
from sim.analysis.comparison import Comparison
from sim.analysis.listing import names_below
from sim.commands.located import all_located
from sim.commands.options import gathered
from sim.views.comparison import as_latex, as_markdown, comparison_page, plot
from sim.views.console import plain, write, write_json
from sim.views.figures import check_plot
from storage.runs import RunDirectory


@dataclass(frozen=True)
class FormOptions:
    """In what form a comparison is written."""

    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else.")] = False
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables in Markdown.")] = False
    latex: Annotated[bool, typer.Option("--latex", help="Tables in LaTeX (booktabs).")] = False
    plot: Annotated[
        Path | None,
        typer.Option(
            help="The differences as a forest plot as well (extra: view).",
            metavar="FILE.png|svg|pdf",
        ),
    ] = None

    def check(self) -> None:
        """Raise ConfigError, before anything is read, for forms that there are not."""
        if sum((self.json, self.markdown, self.latex)) > 1:
            raise ConfigError("choose one of --json, --markdown and --latex")
        if self.plot is not None:
            check_plot(self.plot)

    def write(self, found: Comparison) -> None:
        """Write *found* to standard output."""
        if self.plot is not None:
            plot(found, self.plot)
        if self.json:
            write_json(found)
        elif self.markdown:
            write(as_markdown(found))
        elif self.latex:
            write(as_latex(found))
        else:
            plain(folding=False).print(comparison_page(found))


@dataclass(frozen=True)
class HowOptions:
    """What is compared with what."""

    measure: Annotated[str, typer.Option(help="What the pairs are compared by.")] = "r_traj"
    reference: Annotated[
        str | None,
        typer.Option(help="The group that all others are compared with.", show_default="the first"),
    ] = None
    every_pair: Annotated[
        bool, typer.Option("--every-pair", help="Compare every group with every other.")
    ] = False
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0


@gathered
def compare(
    runs: Annotated[
        list[Path],
        all_located("RUN", "Run directories, an experiment's: all its runs, or addresses of runs."),
    ],
    how: HowOptions,
    form: FormOptions,
) -> None:
    """Compare agents by recorded runs: the same users under the same seeds, pair by pair.

    Runs of one agent with several seeds make a group. Runs with test episodes are judged by those.
    Of a folder, such as an experiment's directory, all runs are taken that came to their end.
    """
    form.check()
    found = compare_runs(
        [*_every(runs)],
        measure=how.measure,
        reference=how.reference,
        every_pair=how.every_pair,
        seed=how.seed,
    )
    form.write(found)


def _every(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the runs at *paths*, and the finished ones below those that are folders of runs.

    Tells of the others on standard error. Raises ConfigError for a folder without any.
    """
    for path in paths:
        within = [] if (path / "run.toml").exists() else sorted(names_below(path))
        ended = [name for name in within if RunDirectory(path / name).finished]
        if not within:
            yield path
        elif not ended:
            hint = f"see where they stand with billp runs {quote(str(path))}"
            raise ConfigError(f"no run in {path} has come to its end", hint=hint)
        others = [name for name in within if name not in ended]
        if others:
            told = f"left out, as they have not come to their end: {', '.join(others)}"
            plain(stderr=True, folding=False).print(f"billp: {told}")
        yield from (path / name for name in ended)
