"""`billp diff`: where two runs part, and what that did to each user."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table

from sim.analysis.diff import RunDiff
from sim.analysis.diff import diff as diff_runs
from sim.analysis.outcomes import Outcome
from sim.commands.located import RunPath, located
from sim.runs.divergence import short
from sim.views.console import plain, write_json

_SHOWN = 20


def diff(
    one: RunPath,
    other: Annotated[Path, located("OTHER", "Another one.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Show where two runs part, and what that did to each user's Len and R_traj.

    Exit status 0 if their traces are the same, else 1.
    """
    found = diff_runs(one, other)
    if as_json:
        write_json(found)
    else:
        plain(folding=False).print(_page(found))
    if found.first is not None or found.settings:
        raise typer.Exit(1)


def _page(found: RunDiff) -> Group:
    parts: list[RenderableType] = [
        f"setting {name}: {short(one)} and {short(other)}"
        for name, (one, other) in found.settings.items()
    ]
    if found.first is None:
        parts.append("No envelope differs.")
        return Group(*parts)
    where, _, _ = found.first.sentence.partition(": recorded ")
    values = f"{short(found.first.recorded)} and {short(found.first.got)}"
    parts.append(f"They part at {where}: {values}.")
    changed = found.changed
    parts.append(f"{len(changed):,} of {len(found.visits):,} visits came out differently.")
    if changed:
        parts += [_table(found), *_means(found)]
    return Group(*parts)


def _table(found: RunDiff) -> Table:
    table = Table()
    for name in ("user", "session", "Len", "Len, other", "R_traj", "R_traj, other"):
        table.add_column(name, justify="right")
    for visit in found.changed[:_SHOWN]:
        one, other = (_told(outcome) for outcome in (visit.one, visit.other))
        table.add_row(str(visit.user), str(visit.session), one[0], other[0], one[1], other[1])
    return table


def _told(outcome: Outcome | None) -> tuple[str, str]:
    return ("–", "–") if outcome is None else (str(outcome.length), f"{outcome.reward:.2f}")


def _means(found: RunDiff) -> list[str]:
    more = len(found.changed) - _SHOWN
    length, reward = found.means()
    lines = [f"… and {more:,} more: --json lists them all"] if more > 0 else []
    return [*lines, f"On average the other has Len {length:+.2f} and R_traj {reward:+.2f}."]
