"""`billp verify`: whether a run directory is whole."""

from collections.abc import Iterator
from typing import Annotated

import typer

from sim.commands.located import Moved, RunPath
from sim.verification.verify import CAVEAT, Check
from sim.verification.verify import verify as verify_run
from sim.views.console import plain, write_json


def verify(
    run: RunPath,
    environment: Moved = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Read everything in a run directory and compare it; offline.

    Exit status 0 if all is well, else 1. Whether the run comes out the same is for billp replay.
    """
    checks = verify_run(run, environment=environment)
    faults = [check for check in checks if check.fault]
    if as_json:
        facts = {"whole": not faults, "checks": checks, "caveat": CAVEAT.replace("\n", " ")}
        write_json(facts)
    else:
        console = plain(folding=False)
        listed = any(check.name == "manifest" for check in checks)
        for check in checks:
            for line in _lines(check, listed=listed):
                console.print(line)
        console.print(CAVEAT)
        console.print(f"{run} is {'damaged' if faults else 'whole'}.")
    if faults:
        raise typer.Exit(1)


def _lines(check: Check, *, listed: bool) -> Iterator[str]:
    """Yield what is said of a check, and below it what the check could not see."""
    mark = "✗" if check.fault else "✓" if check.checked else "–"
    yield f"{mark} {check.name:<12} {check.fault or check.found}"
    if check.unexplained and not check.fault:
        by = "by the manifest alone" if listed else "by nothing yet"
        yield f"{'':<14} {by}: {', '.join(check.unexplained)}"
