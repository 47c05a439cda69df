"""`billp push`: a run, an environment or a report, put to an address."""

from pathlib import Path
from typing import Annotated

import typer

from sim.library.objects import push as push_there
from sim.views.console import plain, write_json


def push(
    what: Annotated[
        Path,
        typer.Argument(
            metavar="WHAT", help="A run that came to its end, an environment, or a report's .html."
        ),
    ],
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="Below which it goes by its own name: s3://BUCKET/WAY, gs://, az:// or file:///DIR.",
        ),
    ],
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Send all anew, whatever is there, damaged or other."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Put a run, an environment or a report to object storage; send what is not there already.

    Its manifest comes last: what is stopped before leaves nothing that looks whole, and goes on by
    the same command. Credentials are those of the environment (extra: objects).
    """
    with plain(stderr=True).status(f"sending {what} …"):
        done = push_there(what, address, replace=replace)
    if as_json:
        write_json(done)
        return
    console = plain(folding=False)
    size = f"{done.bytes / 1e6:,.1f} MB"
    console.print(f"{done.address}: {done.files:,} files, {size}; sent {done.moved:,}")
