"""What commands that run say: progress, a table, or JSON."""

import sys
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from sim.estimate import Estimate
from sim.live import View
from sim.summary import Summary
from sim.views.estimate import estimate_page
from sim.views.progress import ProgressView
from sim.views.report import report


@dataclass(frozen=True)
class ShownOptions:
    """Who listens, and what is said in the end."""

    listener: Annotated[
        list[str] | None,
        typer.Option(help="A listener or follower of your own.", metavar="MODULE:CLASS"),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no table.")] = False


def views(shown: ShownOptions) -> list[View]:
    """Return what shows the run while it runs."""
    return [] if shown.quiet else [ProgressView()]


def tell(summary: Summary, shown: ShownOptions) -> None:
    """Write the summary to standard output as was asked."""
    if shown.json:
        sys.stdout.write(msgspec.json.encode(summary.flat()).decode() + "\n")
    elif not shown.quiet:
        Console(markup=False, highlight=False).print(report(summary), crop=False)


def tell_estimate(estimate: Estimate, shown: ShownOptions) -> None:
    """Write what a run is expected to come to."""
    if shown.json:
        sys.stdout.write(msgspec.json.encode(estimate).decode() + "\n")
    else:
        Console(markup=False, highlight=False).print(estimate_page(estimate), crop=False)
