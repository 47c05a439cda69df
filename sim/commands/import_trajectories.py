"""`billp import-trajectories`: recordings of BiLLP's authors' code as a run directory."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.table import Table

from sim.runs.importing import Imported
from sim.runs.importing import import_trajectories as import_file
from sim.views.console import plain, write_json


def import_trajectories(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.json", help="A trajectory file, or JSON lines of it.")
    ],
    out: Annotated[
        Path, typer.Option(help="The run directory to make.", metavar="DIR", show_default=False)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Make a run of a file that the code of BiLLP's authors wrote, to look at as at any other.

    The reward of the step at which a user left is not recorded: no number here holds it. What
    cannot be read is counted by kind.
    """
    imported = import_file(file, out)
    if as_json:
        write_json(imported)
        return
    console = plain(folding=False)
    console.print(_table(imported))
    console.print(f"digest  {imported.digest}\nrun     {imported.run}\n")
    console.print(f"Next:\n  billp show {quote(imported.run)} 0   what happened in episode 0")


def _table(imported: Imported) -> Table:
    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("meaning", style="dim")
    ends = ", ".join(f"{count:,} {end}" for end, count in imported.ended.items())
    rows = [
        ("episodes", f"{imported.episodes:,}", f"how they ended: {ends}"),
        ("failed", f"{imported.failed:,}", "episodes, of which something could not be read"),
        ("Len", f"{imported.len:.2f}", "recommendations per episode, the quitting one included"),
        ("rewarded", f"{imported.len_rewarded:.2f}", "recommendations with a reward, per episode"),
        ("R_each", f"{imported.r_each:.3f}", "reward per rewarded recommendation"),
        ("R_traj", f"{imported.r_traj:.2f}", "sum of rewards per episode"),
        ("grounded", f"{imported.grounded:,}", _share("to another title", imported.grounded_share)),
        ("repeats", f"{imported.repeats:,}", _share("shown before", imported.repeats_share)),
        ("distinct items", f"{imported.distinct_items:,}", "recommended in the run"),
        *((kind, f"{count:,}", "not readable") for kind, count in imported.unreadable.items()),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _share(what: str, share: float) -> str:
    return f"{what}: {share:.1%} of recommendations"
