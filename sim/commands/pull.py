"""`billp pull`: what stands at an address, on this disk."""

from pathlib import Path
from typing import Annotated

import typer

from sim.library.objects import pull as pull_here
from sim.views.console import plain, write_json
from storage.objects.addresses import parse_address


def pull(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="What billp push told: s3://BUCKET/WAY/NAME.")
    ],
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Where it goes.", show_default="NAME, here"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Fetch a run, an environment or a report from object storage, whole or not at all.

    Each file is compared with its digest. What is stopped goes on by the same command. Commands
    that look at a run take its address, too, and keep it in a cache (extra: objects).
    """
    place = directory or Path(*parse_address(address).parts[-1:])
    with plain(stderr=True).status(f"fetching {address} …"):
        done = pull_here(address, place)
    if as_json:
        write_json(done)
        return
    console = plain(folding=False)
    size = f"{done.bytes / 1e6:,.1f} MB"
    console.print(f"{done.path}: {done.kind}, {done.files:,} files, {size}; fetched {done.moved:,}")
