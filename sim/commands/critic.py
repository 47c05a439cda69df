"""`billp critic`: whether a run's critic lowers variance, and what its values tell."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from sim.commands.located import Moved, RunPath
from sim.commands.options import gathered
from sim.commands.outputs import Trust
from sim.config.layers import merged, parse_set
from sim.config.run import Settings
from sim.experiments.critique import DRAWN, critique
from sim.runs.trust import confirmed
from sim.views.console import plain, write_json
from sim.views.critique import critique_page, plot
from sim.views.figures import check_plot
from storage.datasets import open_environment


@dataclass(frozen=True)
class SampleOptions:
    """What is rolled out."""

    states: Annotated[int, typer.Option(help="How many states of the run.")] = 20
    rollouts: Annotated[int, typer.Option(help="How many rollouts of each.")] = 16
    discount: Annotated[
        float | None, typer.Option(help="γ of the return.", show_default="the critic's")
    ] = None
    seed: Annotated[
        int | None, typer.Option(help="Of states and rollouts.", show_default="the run's")
    ] = None


@dataclass(frozen=True)
class CallOptions:
    """Who answers the calls that are made now."""

    model: Annotated[str | None, typer.Option(help="embedded or openai/NAME.")] = None
    base_url: Annotated[str | None, typer.Option(help="Where the service is.")] = None
    trust: Trust = False
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help=f"A limit, a price, or how replies are drawn: {', '.join(sorted(DRAWN))}.",
            metavar="KEY=VALUE",
        ),
    ] = None
    environment: Moved = None

    def settings(self) -> Settings:
        """Return the settings that change."""
        named = {"model": self.model, "base_url": self.base_url}
        given = {name: value for name, value in named.items() if value is not None}
        return merged(given, *map(parse_set, self.set or []))


@gathered
def critic(
    run: RunPath,
    sample: SampleOptions,
    calls: CallOptions,
    plotted: Annotated[
        Path | None,
        typer.Option("--plot", help="A plot as well (extra: view).", metavar="FILE.png|svg|pdf"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Compare the critic's values of sampled states with returns rolled out from them.

    A rollout replays the past of a state and goes live from there; nothing is written to the run.
    """
    if plotted is not None:
        check_plot(plotted)
    with _progress(sample.states * sample.rollouts) as progress:
        found = critique(
            run,
            sample.states,
            sample.rollouts,
            discount=sample.discount,
            settings=[*([confirmed(run)] if calls.trust else []), calls.settings()],
            seed=sample.seed,
            environment=None if calls.environment is None else open_environment(calls.environment),
            progress=progress,
        )
    if plotted is not None:
        plot(found, plotted)
    if as_json:
        write_json(found)
    else:
        plain(folding=False).print(critique_page(found))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Yield what is called for each rollout that is done; shows a bar on a terminal."""
    console = plain(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("rollouts", total=max(0, total))
        yield lambda: bar.advance(task)
