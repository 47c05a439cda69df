"""Where environments come from: importers, the built-in world, and their directories."""

from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from engine.errors import ConfigError
from storage.catalog import read_only
from storage.datasets import synthetic as built_in
from storage.datasets.building import Recipe, build
from storage.datasets.directories import check_free, load, read_head, save
from storage.datasets.format import Columns, Form, Format
from storage.environments import Environment, Provenance, arrays
from storage.objects.addresses import check_local
from storage.parts import Parts

__all__ = [
    "BUILT_IN",
    "FORMATS",
    "SYNTHETIC",
    "Columns",
    "Form",
    "Format",
    "Recipe",
    "build_environment",
    "check_free",
    "check_world",
    "generate_environment",
    "load",
    "open_environment",
    "read_head",
    "save",
]

SYNTHETIC = built_in.NAME
"""The name of the built-in environment that is the default."""

BUILT_IN = (*built_in.WORLDS,)
"""The names of all of them."""

FORMATS: Parts[Format] = Parts(
    "format",
    "billp.formats",
    Format,
    {
        "steam-200k": "storage.datasets.steam:FORMAT",
        "movielens": "storage.datasets.movielens:FORMAT",
        "billp-amazon": "storage.datasets.amazon:FORMAT",
        "amazon-2018": "storage.datasets.amazon_reviews:FORMAT_2018",
        "amazon-2023": "storage.datasets.amazon_reviews:FORMAT_2023",
        "book-crossing": "storage.datasets.book_crossing:FORMAT",
        "coat": "storage.datasets.coat:FORMAT",
        "goodreads": "storage.datasets.goodreads:FORMAT",
        "kuairand": "storage.datasets.kuairand:FORMAT",
        "kuairec": "storage.datasets.kuairec:FORMAT",
        "steam-australia": "storage.datasets.steam_australia:FORMAT",
        "yelp": "storage.datasets.yelp:FORMAT",
        "csv": "storage.datasets.any_table:FORMAT",
    },
)
"""The formats that environments are built from."""


def open_environment(name: str, digest: str = "") -> Environment:
    """Return the built-in environment if *name* is one of theirs, else that in directory *name*.

    A process reads a built-in one once, and shares it: no array of it can be written to.
    A run that was in one of *digest* gets it by the name that it had then: the built-in ones have
    changed theirs. Raises DataError for what is no environment, ConfigError for a name of old.
    """
    now = built_in.FORMER.get(name, "")
    if now and digest == built_in.DIGESTS[now]:
        return _called(open_environment(now), name)
    check_world(name)
    if name in BUILT_IN:
        return _built_in(user_cache_path("billp"), name)
    check_local(name, "fetch it first: billp pull")
    return load(Path(name))


# Experiments, comparisons and forks open one for each of their runs: to read it is a third of a
# short one. One of a user is read anew: its files may have changed, and it may be large.
@cache
def _built_in(place: Path, name: str) -> Environment:
    environment = built_in.synthetic(place, name)
    for array in arrays(environment).values():
        read_only(array)
    return environment


def check_world(name: str) -> None:
    """Raise ConfigError if *name* was that of a built-in world, and is none any more."""
    now = built_in.FORMER.get(name)
    if now and name not in BUILT_IN:
        what = f"the world {name!r} is the default now, and called {now!r}"
        raise ConfigError(what, hint=f"what was called {now!r} is {built_in.FORMER[now]!r}")


def _called(environment: Environment, name: str) -> Environment:
    return replace(environment, head=msgspec.structs.replace(environment.head, name=name))


def generate_environment(
    seed: int,
    *,
    name: str = SYNTHETIC,
    test_share: float = built_in.TEST_SHARE,
    world: str = SYNTHETIC,
) -> Environment:
    """Return the synthetic *world* of *seed*, called *name*; seed 0 is the built-in one.

    *test_share* of its users are test users.
    """
    if not 0.0 < test_share < 1.0:
        raise ConfigError(f"test share: expected a share between 0 and 1, got {test_share!r}")
    environment = built_in.build_synthetic(seed, test_share=test_share, world=world)
    return _called(environment, name)


def build_environment(
    kind: str, source: Path, recipe: Recipe, *, name: str, columns: Columns | None = None
) -> Environment:
    """Return the environment that *recipe* makes of *source*, a source in the format *kind*.

    Raises ConfigError or DataError; nothing is written.
    """
    chosen = FORMATS.named(kind)
    columns = columns or Columns()
    if not chosen.columns and columns != Columns():
        raise ConfigError(
            f"format {kind!r} has columns of its own",
            hint="columns, encoding and scale are options of csv",
        )
    recipe.check()
    data = chosen.read(source, columns)
    named = asdict(columns) | asdict(columns.form) if chosen.columns else {}
    options = {key: value for key, value in named.items() if value and key != "form"}
    options |= {"no_header": 1} if "no_header" in options else {}
    provenance = Provenance(source=str(source), files=data.files, options=asdict(recipe) | options)
    return build(data, recipe, name=name, kind=kind, provenance=provenance)
