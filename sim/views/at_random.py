"""What ratings of items that were shown at random say of a world."""

from rich.console import RenderableType
from rich.table import Table

from storage.datasets.at_random import PICKED, accuracy_at_random, worth_at_random
from storage.environments import Environment, Unbiased


def at_random(environment: Environment) -> list[RenderableType]:
    """Return what there is to see of *environment* beside such ratings; nothing without them."""
    fit = environment.head.fit
    if fit is None or fit.unbiased is None:
        return []
    return [
        "",
        "Ratings of what people chose, and of what they were shown:",
        _accuracies(fit.unbiased, environment),
        "",
        f"The mean of {PICKED} picks of what each was shown at random:",
        _worths(environment),
    ]


def _accuracies(fit: Unbiased, environment: Environment) -> Table:
    rows = {
        "chosen, held out": fit.chosen,
        "shown at random": fit.shown,
        "the same, by this world's rewards": accuracy_at_random(environment),
    }
    table = _table("ratings", "RMSE", "bias", "AUC")
    for name, found in rows.items():
        if found is not None:
            numbers = (f"{number:.3f}" for number in (found.rmse, found.bias, found.auc))
            table.add_row(name, f"{found.count:,}", *numbers)
    return table


def _worths(environment: Environment) -> Table:
    """Return what policies are worth: the world should rank them as people do."""
    table = _table("people's ratings", "this world's rewards")
    for one in worth_at_random(environment):
        table.add_row(one.policy, f"{one.rated:.2f} ± {one.margin:.2f}", f"{one.rewarded:.2f}")
    return table


def _table(*columns: str) -> Table:
    table = Table()
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    return table
