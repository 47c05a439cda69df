"""`billp models`: which models are at hand, and what can be told of each."""

from pathlib import Path
from typing import Annotated

import anyio
import typer

from agents.models.providers import Way
from agents.models.remote.addresses import check_address
from sim.runs.at_hand import AtHand, of_service, of_this_machine
from sim.views.console import plain, write_json
from sim.views.models import models_view


def models(
    base_url: Annotated[
        str | None, typer.Option(help="List what a service offers, beside this machine's.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where GGUF files lie.")] = Path(),
    ask: Annotated[
        bool,
        typer.Option("--ask", help="Try the service's: four short calls for each of its models."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """List the models that are at hand: built in, packaged, GGUF files, what a service offers.

    A model of this machine keeps to schemas, and a seed decides what it says as long as nothing is
    computed beside a call: billp probe tells how far that goes.
    """
    found = [*of_this_machine(folder)]
    if base_url is not None:
        check_address(base_url)
        found += anyio.run(_offered, base_url, ask)
    if as_json:
        write_json({"models": found})
        return
    console = plain()
    console.print(models_view(found))
    for one in found:
        if one.lacks:
            console.print(f"{one.model}: {one.lacks}")


async def _offered(url: str, ask: bool) -> list[AtHand]:
    return await of_service(Way(url=url), asking=ask)
