"""Arguments and options that name what is on this disk, or at an address: then it is fetched."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from sim.commands.options import ENVIRONMENT
from sim.views.console import plain
from storage.objects.addresses import is_address


def fetched(text: str) -> str:
    """Return where on this disk that is which *text* names; an address is fetched to the cache."""
    if not is_address(text):
        return text
    objects: Any = import_module("sim.library.objects")  # which few need who name a run
    with plain(stderr=True).status(f"fetching {text} …"):
        where: str = objects.pull(text).path
    return where


def _name(context: typer.Context, text: str | None) -> str | None:
    # Whoever presses Tab wants to see words, and nothing to be fetched.
    return text if text is None or context.resilient_parsing else fetched(text)


def _path(context: typer.Context, text: str | None) -> Path | None:
    name = _name(context, text)
    return None if name is None else Path(name)


def _paths(context: typer.Context, texts: Sequence[str] | None) -> list[Path] | None:
    if texts is None or context.resilient_parsing:
        return None
    return [Path(fetched(text)) for text in texts]


def located(metavar: str, what: str) -> Any:
    """Return the argument that names *what* is somewhere."""
    return typer.Argument(metavar=metavar, help=what, parser=str, callback=_path)


def all_located(metavar: str, what: str) -> Any:
    """Return the argument that names all of *what* is somewhere."""
    return typer.Argument(metavar=metavar, help=what, parser=str, callback=_paths)


def environment_argument(what: str, default: str | None = None) -> Any:
    """Return the argument that names an environment: *what* it may be, or the *default*."""
    shown = True if default is None else default
    return typer.Argument(metavar="ENV", help=what, show_default=shown, callback=_name)


def environment_option(what: str, default: str | None = None) -> Any:
    """Return the option that names an environment: *what* it is for, or the *default*."""
    return typer.Option(*ENVIRONMENT, help=what, show_default=default or False, callback=_name)


RunPath: TypeAlias = Annotated[Path, located("RUN", "A run directory, or its address (s3://…).")]
"""The argument of commands that look at a run."""

Moved: TypeAlias = Annotated[
    str | None,
    environment_option("Where the environment is, if not where it was; also at an address."),
]
"""The option of commands that look at a run, which knows where its environment was."""
