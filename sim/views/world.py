"""Whether a world rewards knowing its users: its judgement in the terminal."""

from rich.console import Group
from rich.table import Table

from sim.experiments.worlds import Judgement


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
