"""How a source of data is written, and what is to be made of it, as `billp env build` is told."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated

import typer

from storage.datasets import (
    FORMATS,
    Recipe,
)
from storage.datasets.building import Drawn


@dataclass(frozen=True)
class RecipeOptions:
    """What can be asked for in place of what suits the format."""

    seed: Annotated[int | None, typer.Option(help="Seed of every draw.")] = None
    dimensions: Annotated[int | None, typer.Option(help="Factors of the reward model.")] = None
    test_share: Annotated[float | None, typer.Option(help="Share of users to test with.")] = None
    truth_share: Annotated[
        float | None,
        typer.Option(help="Share of each user's ratings that makes the world; the rest is told."),
    ] = None
    factors: Annotated[
        Drawn | None,
        typer.Option(help="Drawn from what the ratings leave open, or the mean of that."),
    ] = None
    sample: Annotated[
        int | None, typer.Option(help="Which draw: each number is another, equally likely world.")
    ] = None
    category_weight: Annotated[
        float | None, typer.Option(help="What categories count in distances, 0 to 1.")
    ] = None
    beta_quantile: Annotated[
        float | None, typer.Option(help="Share of pairs of items that are near.")
    ] = None
    min_user: Annotated[
        int | None, typer.Option(help="Leave out users with fewer interactions, to the core.")
    ] = None
    min_item: Annotated[
        int | None, typer.Option(help="Leave out items with fewer interactions, to the core.")
    ] = None

    def recipe(self, kind: str) -> Recipe:
        """Return the recipe of format *kind* with what was asked for."""
        asked = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(FORMATS.named(kind).recipe, **asked)


@dataclass(frozen=True)
class ColumnOptions:
    """How the columns of a csv source are called."""

    user: Annotated[str, typer.Option(help="csv: column of the user.")] = "user"
    item: Annotated[str, typer.Option(help="csv: column of the item.")] = "item"
    rating: Annotated[
        str | None, typer.Option(help="csv: column of the rating; none: all are positive.")
    ] = None
    time: Annotated[
        str | None, typer.Option(help="csv: column of the time; none: as the lines stand.")
    ] = None
    title: Annotated[str | None, typer.Option(help="csv: column of the item's title.")] = None
    categories: Annotated[
        str | None, typer.Option(help="csv: column of the item's categories, Drama|War.")
    ] = None
    separator: Annotated[
        str, typer.Option(help="csv: what separates columns; found out if not given.")
    ] = ""


@dataclass(frozen=True)
class FormOptions:
    """How a csv source is written, and what its ratings mean."""

    encoding: Annotated[str, typer.Option(help="csv: such as latin-1.")] = "utf-8"
    no_header: Annotated[
        bool, typer.Option("--no-header", help="csv: columns by number: --user 0 --item 1.")
    ] = False
    scale: Annotated[
        str, typer.Option(help="csv: lowest and highest rating, 0:10; they become 1 and 5.")
    ] = ""
    missing: Annotated[str, typer.Option(help='csv: the rating that means "not rated", say 0.')] = (
        ""
    )
