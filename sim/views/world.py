"""Whether a world rewards knowing its users: its judgement in the terminal."""

import json
from collections.abc import Iterator

from rich.console import Group
from rich.table import Table

from sim.config.run import Settings
from sim.experiments.calibration import FIGURES, Calibration
from sim.experiments.worlds import Judgement
from storage.environments import Head


def judgement_view(judged: Judgement) -> Group:
    """Return what policies get of the bound, and which of the bars are met."""
    bound = f"diverse-greedy, R_traj {judged.r_traj:.1f}, Len {judged.len:.1f}"
    table = Table(title=f"Shares of the bound: {bound}", title_justify="left")
    table.add_column("of", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("who that is")
    for name, share, meaning in (
        ("random", judged.random, "any item"),
        ("best-sequence", judged.best_sequence, "the best of 100 visits, replayed"),
        ("best fixed", judged.best_fixed, "one sequence for all, by who knows them"),
        ("reader", judged.reader, "infers a taste for categories"),
        ("ideal", judged.ideal, "infers a taste for the true factors"),
    ):
        table.add_row(name, f"{share:.0%}", meaning)
    marks = [f"{'✓' if met else '✗'} {what} {bar}" for what, bar, met in judged.bars]
    return Group(table, *marks, f"{judged.users:,} users: {verdict(judged)}")


def verdict(judged: Judgement) -> str:
    """Return in words whether all bars are met."""
    if all(met for _, _, met in judged.bars):
        return "this world rewards knowing its users."
    return "this world does not tell who knows its users."


def words_of(settings: Settings, prefix: str = "") -> Iterator[str]:
    """Yield *settings* as the words of a command."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from words_of(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            yield f"--set={prefix}{name}={text}"


def calibration_view(found: Calibration, before: Head, now: Head) -> Group:
    """Return what was wanted, what was found, and what chance and the bound get with it."""
    table = Table(title=f"Visits of {found.reached.users} users", title_justify="left")
    for name in ("", "wanted", "before", "reached"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for figure, (name, get) in FIGURES.items():
        form = "{:.1%}" if figure == "random_share" else "{:.2f}"
        asked = found.wanted.get(figure)
        numbers = [None if asked is None else asked, get(found.before), get(found.reached)]
        table.add_row(name, *("" if one is None else form.format(one) for one in numbers))
    old, new = before.beta_quantile, found.beta_quantile
    near = f"near: distance below β = {now.beta:g}, {new:.2%} of all pairs (was {old:.2%})"
    return Group(near, *words_of(found.settings), table)
