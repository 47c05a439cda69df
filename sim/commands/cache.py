"""`billp cache`: what a cache of replies holds, and what to drop of it."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from sim.views.console import plain, write_json
from storage.replies import open_cache

app = typer.Typer(help="Look into a cache of replies, and prune it.", no_args_is_help=True)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="What billp run --cache filled.")]


@app.command()
def stats(
    directory: Directory,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Count the replies of a cache, by model, their tokens and bytes."""
    with closing(open_cache(directory)) as cache:
        found = cache.statistics()
    if as_json:
        write_json(found)
        return
    console = plain(folding=False)
    size = f"{found.bytes / 1e6:,.1f} MB"
    console.print(f"{found.path}: {found.replies:,} replies, {found.tokens:,} tokens, {size}")
    for model, count in found.models.items():
        console.print(f"  {model}: {count:,}")


@app.command()
def prune(
    directory: Directory,
    days: Annotated[
        float | None, typer.Option(help="Drop what was not used for so many days.", min=0)
    ] = None,
    keep: Annotated[
        int | None, typer.Option(help="Keep so many replies, those last used.", min=0)
    ] = None,
) -> None:
    """Drop replies that were not used for long."""
    if days is None and keep is None:
        raise ConfigError("prune what?", hint="--days 30, --keep 100000, or both")
    with closing(open_cache(directory)) as cache:
        dropped = cache.prune(days=days, keep=keep)
        left = cache.statistics()
    plain().print(
        f"dropped {dropped:,} replies; {left.replies:,} are left, {left.bytes / 1e6:,.1f} MB"
    )
