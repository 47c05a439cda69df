"""The models that are at hand: their table in the terminal."""

from collections.abc import Iterable

from rich.table import Table

from sim.runs.at_hand import AtHand


def models_view(models: Iterable[AtHand]) -> Table:
    """Return a line for each model; what nobody can tell without asking it is `?`."""
    table = Table(title_justify="left")
    table.add_column("model", overflow="fold", ratio=3)
    table.add_column("where", overflow="fold", ratio=3)
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("context", justify="right", no_wrap=True)
    table.add_column("schemas", no_wrap=True)
    table.add_column("seeds", no_wrap=True)
    for one in models:
        size = f"{one.bytes / 1e6:,.0f}" if one.bytes else ""
        context = f"{one.context:,}" if one.context else "?"
        table.add_row(one.model, one.where, size, context, one.schemas, one.seeds)
    return table
