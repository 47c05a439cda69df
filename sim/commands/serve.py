"""`billp serve`: a model as a service that speaks the OpenAI protocol."""

import resource
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import anyio
import typer

from agents.embeddings import hashed
from agents.models.chain import open_models
from agents.models.guards.limiter import Limiter, Limits
from agents.models.model import ChatModel
from agents.models.providers import EMBEDDED, check_model, plain_name
from agents.models.serving.connections import Bounds
from agents.models.serving.desk import Unhurried
from agents.models.serving.faults import FAULTS, Faults
from agents.models.serving.latency import parse_latency
from agents.models.serving.server import Behaviour, Server
from engine.errors import ConfigError
from sim.commands.asking import ROLE, WayOptions, asking
from sim.commands.options import gathered
from sim.config.run import RunConfig
from sim.views.console import plain

_OTHER_FILES = 100

VECTORS = "hashing"
"""The name of the built-in embeddings."""

_FAULT_HELP = "NAME=RATE, rates from 0 to 1; " + "; ".join(
    f"{name}: {what}" for name, what in FAULTS.items()
)


@dataclass(frozen=True)
class ServedOptions:
    """Which model is served."""

    model: Annotated[
        str, typer.Option(help="embedded, local/NAME, local/PATH.gguf or openai/NAME.")
    ] = EMBEDDED
    concurrency: Annotated[int, typer.Option(min=1, help="Calls that it is asked at once.")] = 16


@dataclass(frozen=True)
class PlaceOptions:
    """Where the service is."""

    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")] = (
        8000
    )


@dataclass(frozen=True)
class BoundOptions:
    """What clients may take of it."""

    connections: Annotated[
        int, typer.Option(min=1, help="Connections at once; the others get 503.")
    ] = Bounds.connections
    waiting: Annotated[int, typer.Option(min=1, help="Calls at once; the others get 503.")] = (
        Bounds.waiting
    )

    def bounds(self) -> Bounds:
        """Return what was asked for, as far as the system has files for it."""
        return Bounds(connections=min(self.connections, _room()), waiting=self.waiting)


@dataclass(frozen=True)
class PaceOptions:
    """How fast the service is, and how much it allows."""

    latency: Annotated[
        str, typer.Option(help="fixed:MS or lognormal:MEDIAN_MS,SIGMA.", metavar="DISTRIBUTION")
    ] = "fixed:0"
    batch_delay: Annotated[
        float, typer.Option(min=0, help="Seconds until a batch is answered.")
    ] = 0.0
    rpm: Annotated[float | None, typer.Option(min=0, help="Calls allowed a minute.")] = None
    tpm: Annotated[float | None, typer.Option(min=0, help="Tokens allowed a minute.")] = None


@dataclass(frozen=True)
class FaultOptions:
    """What goes wrong."""

    fault: Annotated[list[str] | None, typer.Option(help=_FAULT_HELP, metavar="NAME=RATE")] = None
    outage: Annotated[
        list[str] | None, typer.Option(help="Down from a second on, for seconds.", metavar="AT,FOR")
    ] = None
    slow: Annotated[float, typer.Option(min=0, help="Seconds that slow replies take.")] = 30.0
    retry_after: Annotated[float, typer.Option(min=0, help="Seconds that 429 asks to wait.")] = 1.0
    refuse_after: Annotated[
        int | None, typer.Option(min=0, help="Refuse the key after so many calls.")
    ] = None
    batch_expires: Annotated[
        int | None, typer.Option(min=0, help="Let batches expire after so many of their calls.")
    ] = None
    seed: Annotated[int, typer.Option(help="Seed of latencies and faults.")] = 0

    def faults(self) -> Faults:
        """Return what was asked for."""
        return Faults(
            rates=dict(_rate(text) for text in self.fault or ()),
            outages=tuple(_outage(text) for text in self.outage or ()),
            slow=self.slow,
            retry_after=self.retry_after,
            refuse_after=self.refuse_after,
        )


@dataclass(frozen=True)
class Manner:
    """Where a service is, what is taken of it, and how it behaves."""

    place: PlaceOptions
    bounds: Bounds
    behaviour: Behaviour


@gathered
def serve(
    served: ServedOptions,
    way: WayOptions,
    place: PlaceOptions,
    bounds: BoundOptions,
    pace: PaceOptions,
    faults: FaultOptions,
) -> None:
    """Serve a model by the OpenAI protocol, with faults if you want them.

    The embedded model is a stand-in, not a language model: rehearse with it.
    """
    check_model(served.model)
    config = way.config(served.model)
    behaviour = Behaviour(
        latency=parse_latency(pace.latency),
        faults=faults.faults(),
        requests_per_minute=pace.rpm,
        tokens_per_minute=pace.tpm,
        seed=faults.seed,
        batches=Unhurried(delay=pace.batch_delay, expire_after=faults.batch_expires),
    )
    manner = Manner(place, bounds.bounds(), behaviour)
    anyio.run(_open, config, served.concurrency, manner)


async def _open(config: RunConfig, in_flight: int, manner: Manner) -> None:
    async with open_models(asking(config, in_flight)) as doors:
        door = doors[ROLE]
        # A model that computes here takes so many calls at once; the others wait in line.
        at_once = Limits(in_flight=min(in_flight, door.slots or in_flight))
        limited = Limiter(door.model, at_once) if door.slots else door.model
        await _serve(limited, plain_name(config.model), manner)


async def _serve(model: ChatModel, name: str, manner: Manner) -> None:
    server = Server(
        model,
        manner.behaviour,
        names=(name, VECTORS),
        embed=lambda text: hashed(text.splitlines()).tolist(),
        bounds=manner.bounds,
        host=manner.place.host,
        port=manner.place.port,
    )
    console = plain(folding=False)
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with server as url:
            console.print(f"Serving {name} and {VECTORS} at {url} until Ctrl-C.")
            console.print(f"Next:  billp run --model openai/{name} --base-url {url}")
            await anext(aiter(signals))
    outcomes = ", ".join(f"{count:,} {what}" for what, count in server.outcomes.most_common())
    console.print(f"\nAnswered: {outcomes or 'nothing'}.")


def _room() -> int:
    """Return how many connections there are files for: as many again may come at one moment."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems allow less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, files // 2 - _OTHER_FILES) if files > 0 else Bounds.connections


def _rate(text: str) -> tuple[str, float]:
    name, _, rate = text.partition("=")
    try:
        return name, float(rate)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no fault", hint="--fault drop=0.2") from error


def _outage(text: str) -> tuple[float, float]:
    try:
        start, length = (float(number) for number in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{text!r} is no outage", hint="--outage 10,5") from error
    return start, length
