"""What ratings of items that were shown at random say of a world."""

from rich.console import RenderableType
from rich.table import Table

from storage.datasets.at_random import PICKED, Ranking, accuracy_at_random, ranking_at_random
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
        *_ranking(environment),
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


def _ranking(environment: Environment) -> list[RenderableType]:
    """Return what policies are worth: the world should rank them as people do."""
    ranking = ranking_at_random(environment)
    if ranking is None:
        return []
    table = _table("people's ratings", "this world's rewards")
    for one in ranking.worths:
        table.add_row(one.policy, f"{one.rated:.2f} ± {one.margin:.2f}", f"{one.rewarded:.2f}")
    title = f"What {PICKED} of what each was shown at random are worth, chosen by policies:"
    return ["", title, table, in_words(ranking)]


def in_words(ranking: Ranking) -> str:
    """Return in words whether the world ranks policies as people do."""
    if not ranking.decided:
        return "People tell no two of them apart: the order says nothing."
    told = f"Of {ranking.decided} pairs that people tell apart (95 %)"
    if not ranking.swapped:
        return f"{told} all stand in the same order in this world."
    swapped = ", ".join(f"{better} above {worse}" for better, worse in ranking.swapped)
    return f"{told} {len(ranking.swapped)} do not stand so in this world: {swapped}."


def _table(*columns: str) -> Table:
    table = Table()
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    return table
