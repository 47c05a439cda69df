"""`billp resume`: finish a run that was stopped or killed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sim.commands.located import Moved
from sim.commands.options import gathered
from sim.commands.outputs import ShownOptions, Trust, check_failed, tell, views
from sim.config.layers import parse_set
from sim.metrics.failures import Failure
from sim.runs.listeners import load_listeners
from sim.runs.resume import resume as resume_run
from sim.runs.trust import confirmed
from sim.views.console import plain
from storage.datasets import open_environment
from storage.runs import RunDirectory


@dataclass(frozen=True)
class AgainOptions:
    """What is asked again, and where the environment is."""

    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask failed calls again.")
    ] = False
    environment: Moved = None
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting that leaves no mark on the trace: max_calls=900, concurrency=8.",
            metavar="KEY=VALUE",
        ),
    ] = None
    trust: Trust = False


@gathered
def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    again: AgainOptions,
    shown: ShownOptions,
) -> None:
    """Finish a run after Ctrl-C, a crash or a spent budget; no recorded call is made again.

    It comes to the digest of a run that nobody disturbed.
    """
    environment = None if again.environment is None else open_environment(again.environment)
    summary = resume_run(
        run,
        retry_failed=again.retry_failed,
        settings=[
            *([confirmed(run)] if again.trust else []),
            *(parse_set(text) for text in again.set or []),
        ],
        environment=environment,
        listeners=load_listeners(shown.listener or []),
        views=views(shown),
    )
    if summary is None:
        console = plain(stderr=True, folding=False)
        console.print(f"{run} is finished: there is nothing to resume")
        check_failed(run, *_told(run))
        return
    tell(summary, shown)


def _told(run: Path) -> tuple[int, tuple[Failure, ...]]:
    """Return how many episodes of a finished run ended well, and why others failed."""
    told = RunDirectory(run).read_summary()
    failures = msgspec.convert(told.get("failures", ()), tuple[Failure, ...])
    return int(told.get("all_episodes", 0)), failures
