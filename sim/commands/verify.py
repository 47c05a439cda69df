"""`billp verify`: whether a run directory is whole."""

from pathlib import Path
from typing import Annotated

import typer

from sim.verify import verify as verify_run
from sim.views.console import plain, write_json


def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    environment: Annotated[
        str | None, typer.Option(help="Where the environment is, if not where it was.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Check a run's structure, digest, journal, memories and environment; offline.

    Exit status 0 if all is well, else 1. Whether the run comes out the same is for billp replay.
    """
    checks = verify_run(run, environment=environment)
    faults = [check for check in checks if check.fault]
    if as_json:
        facts = {"whole": not faults, "checks": checks}
        write_json(facts)
    else:
        console = plain(folding=False)
        for check in checks:
            mark = "✗" if check.fault else "✓"
            console.print(f"{mark} {check.name:<12} {check.fault or check.found}")
        console.print(f"{run} is {'damaged' if faults else 'whole'}.")
    if faults:
        raise typer.Exit(1)
