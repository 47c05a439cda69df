"""`billp probe`: whether a model says the same again, and beside how many other calls."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import anyio
import msgspec
import typer

from agents.models.providers import check_model
from engine.errors import ConfigError
from sim.commands.asking import ROLE, WayOptions, asking
from sim.commands.options import gathered
from sim.experiments.probe import Asked
from sim.experiments.probe import probe as probe_model
from sim.views.certificate import certificate_view
from sim.views.console import plain, write_json
from storage.runs import write_whole


@dataclass(frozen=True)
class CallOptions:
    """What is asked."""

    calls: Annotated[int, typer.Option(min=1, max=10_000, help="Calls, each with a seed.")] = 16
    in_flight: Annotated[
        str, typer.Option(help="Calls at once, one number after the other.", metavar="N,N,…")
    ] = "1,4,16,64"
    temperature: Annotated[float, typer.Option(min=0, max=2, help="As in a run.")] = 0.5
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a reply.")] = 64

    def levels(self) -> tuple[int, ...]:
        """Return how many calls are in flight, least first; raises ConfigError."""
        words = self.in_flight.split(",")
        if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
            what = f"expected numbers of calls, got {self.in_flight!r}"
            raise ConfigError(what, hint="--in-flight 1,4,16")
        return tuple(sorted({int(word) for word in words}))


@gathered
def probe(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As of billp run --model.")],
    calls: CallOptions,
    way: WayOptions,
    out: Annotated[
        Path | None, typer.Option(help="Write what was found, for billp run --certificate.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object and nothing else.")
    ] = False,
) -> None:
    """Tell whether a model says the same again: a certificate of determinism.

    The same calls, with the same seeds, go to it with 1, 4, 16 and 64 in flight, each time cold and
    warm. It costs so many calls as --calls times twice the numbers of --in-flight.
    """
    check_model(model)
    levels = calls.levels()
    asked = Asked(
        role=ROLE,
        settings=asking(way.config(model), levels[-1]),
        calls=calls.calls,
        levels=levels,
        temperature=calls.temperature,
        max_tokens=calls.max_tokens,
    )
    console = plain(stderr=True)
    found = anyio.run(probe_model, asked, console.print)
    if out is not None:
        write_whole(out, msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    if as_json:
        write_json({"says": found.says, **msgspec.to_builtins(found)})
    else:
        plain().print(certificate_view(found))
