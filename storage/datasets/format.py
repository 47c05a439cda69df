"""What a format is: how a source is read, and the recipe that suits it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from storage.datasets.building import Recipe
from storage.datasets.interactions import Interactions


@dataclass(frozen=True)
class Form:
    """How a table is written, and what its ratings mean.

    With *no_header* columns are called by number, from 0. *scale* is that of the source, "0:10",
    put linearly on 1 to 5, and *missing* the number in it that means "not rated", "0".
    """

    encoding: str = "utf-8"
    no_header: bool = False
    scale: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Columns:
    """How the columns of a table are called; None means the usual name, where there is one.

    An empty *separator* is found out: comma, tab or semicolon.
    """

    user: str = "user"
    item: str = "item"
    rating: str | None = None
    time: str | None = None
    title: str | None = None
    categories: str | None = None
    separator: str = ""
    form: Form = Form()


@dataclass(frozen=True)
class Format:
    """A kind of source; *read* raises DataError for what it cannot make sense of.

    *columns* says that a source may call its columns as it likes, and is told how.
    """

    summary: str
    read: Callable[[Path, Columns], Interactions]
    recipe: Recipe = field(default_factory=Recipe)
    columns: bool = False
