"""`billp blame`: which decision, or which memory, made an episode go as it went."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Group
from rich.progress import Progress

from sim.commands.critic import CallOptions
from sim.commands.located import RunPath
from sim.commands.options import gathered
from sim.config.run import Settings
from sim.experiments.blame.blaming import REPLIES, planned
from sim.experiments.blame.blaming import blame as blame_episode
from sim.experiments.blame.cost import cost_of
from sim.experiments.blame.findings import Asked
from sim.experiments.blame.kept import keep
from sim.experiments.blame.plays import Progress as Told
from sim.library.run import Run
from sim.runs.loop import in_event_loop
from sim.runs.trust import confirmed
from sim.views.blame import blame_page, cost_page
from sim.views.console import plain, write_json
from storage.datasets import open_environment

T = TypeVar("T")


@dataclass(frozen=True)
class DrawOptions:
    """Which episode, and how much is asked of it."""

    episode: Annotated[int, typer.Option(help="The episode.", min=0, show_default=False)]
    draws: Annotated[int, typer.Option(help="Fresh draws of each of the leading causes.")] = (
        Asked().draws
    )
    leading: Annotated[int, typer.Option(help="How many causes get fresh draws.")] = Asked().leading
    ties: Annotated[
        int,
        typer.Option(
            help="How many times as many draws they get at most that cannot be told apart."
        ),
    ] = Asked().ties
    records: Annotated[
        int | None,
        typer.Option(
            help="How many remembered records are looked at, those recalled most often.",
            show_default="all",
        ),
    ] = None
    seed: Annotated[int | None, typer.Option(help="Of the draws.", show_default="the run's")] = None

    def asked(self) -> Asked:
        """Return how much is asked."""
        return Asked(
            draws=self.draws,
            leading=self.leading,
            ties=self.ties,
            records=self.records,
            seed=self.seed,
        )


@dataclass(frozen=True)
class PriceOptions:
    """What it may cost."""

    max_calls: Annotated[
        int | None, typer.Option(help="End with what is known after so many calls.", min=1)
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Where replies are kept that are paid for.",
            show_default=f"the run's, or {REPLIES}",
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what it would cost, and call nobody.")
    ] = False

    def settings(self) -> Settings:
        """Return the settings of what it may cost."""
        named = {"max_calls": self.max_calls, "cache": self.cache and str(self.cache)}
        return {name: value for name, value in named.items() if value is not None}


@gathered
def blame(
    run: RunPath,
    drawn: DrawOptions,
    price: PriceOptions,
    calls: CallOptions,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Tell which thought, item or remembered record made an episode go as it went.

    Each is drawn anew, or left out, while what comes before stays as it is recorded and what comes
    after is drawn anew with it and without it, by common random numbers. Nothing is written to the
    run; recorded replies are not asked for again.
    """
    settings = [
        *([confirmed(run)] if calls.trust else []),
        calls.settings(),
        price.settings(),
    ]
    environment = None if calls.environment is None else open_environment(calls.environment)
    if price.dry_run:
        plan = planned(run, drawn.episode, drawn.asked(), settings, environment)
        cost = in_event_loop(partial(cost_of, plan))
        _write(cost, cost_page, as_json=as_json)
        return
    with _progress() as told:
        found = blame_episode(
            run,
            drawn.episode,
            asked=drawn.asked(),
            settings=settings,
            environment=environment,
            progress=told,
        )
    keep(found, Run.open(run).digest)
    _write(found, blame_page, as_json=as_json)


def _write(found: T, page: Callable[[T, int], Group], *, as_json: bool) -> None:
    """Write what was *found* to standard output, as one JSON object or as a *page*."""
    if as_json:
        write_json(found)
    else:
        console = plain(folding=False)
        console.print(page(found, console.width))


@contextmanager
def _progress() -> Iterator[Told]:
    """Yield what is told of each play that is done; shows a bar on a terminal."""
    console = plain(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("plays", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
