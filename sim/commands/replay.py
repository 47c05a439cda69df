"""`billp replay`: a recorded run again, without network or key, compared byte by byte."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from engine.errors import ConfigError
from sim.commands.located import Moved, RunPath
from sim.commands.options import gathered
from sim.commands.places import parse_point, parse_role_point
from sim.runs.debugging import Stopping
from sim.runs.listeners import load_listeners
from sim.runs.replay import Replay, prompt_of
from sim.runs.replay import replay as replay_run
from sim.runs.stopping import resuming
from sim.views.console import plain, write, write_json
from sim.views.difference import told
from storage.datasets import open_environment


@dataclass(frozen=True)
class PartOptions:
    """Which part of a run."""

    episode: Annotated[
        int | None, typer.Option(help="This episode alone, with the memories that it saw.")
    ] = None
    start: Annotated[
        int | None,
        typer.Option(
            "--from",
            help="Begin with this episode; those before it are taken as recorded.",
            metavar="EPISODE",
        ),
    ] = None
    until: Annotated[
        str | None, typer.Option(help="Stop after this step.", metavar="EPISODE:STEP")
    ] = None
    all: Annotated[bool, typer.Option("--all", help="List every difference.")] = False


@dataclass(frozen=True)
class LookOptions:
    """What to look at on the way."""

    prompt: Annotated[
        str | None,
        typer.Option(
            help="Print the exact prompt of a call, made again.", metavar="EPISODE:STEP:ROLE"
        ),
    ] = None
    debug_at: Annotated[
        str | None,
        typer.Option(
            help="Stop in Python's debugger in the handlers of a step.",
            metavar="EPISODE:STEP[:ROLE]",
        ),
    ] = None
    listener: Annotated[
        list[str] | None,
        typer.Option(help="A follower of your own over the record.", metavar="MODULE:CLASS"),
    ] = None


@dataclass(frozen=True)
class WayOptions:
    """How it is done and told; nothing of it can be seen in what comes out."""

    concurrency: Annotated[
        int | None, typer.Option(help="Bounds the episodes at work. [default: the run's]")
    ] = None
    environment: Moved = None
    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else.")] = False


@gathered
def replay(
    run: RunPath,
    part: PartOptions,
    look: LookOptions,
    way: WayOptions,
) -> None:
    """Run a recorded run again and compare all of it; nobody is called.

    Exit status 0 if every byte agrees, 1 with the first difference, 2 for what is no recorded run.
    """
    environment = None if way.environment is None else open_environment(way.environment)
    if look.prompt is not None:
        at, role = parse_role_point(look.prompt)
        request = prompt_of(run, at, role, environment=environment)
        write("\n\n".join(message.content for message in request.messages) + "\n")
        return
    stopping = None if look.debug_at is None else Stopping(*_debug_point(look.debug_at))
    done = replay_run(
        run,
        every=part.all,
        episode=part.episode,
        start=part.start,
        until=None if part.until is None else parse_point(part.until),
        concurrency=way.concurrency,
        environment=environment,
        listeners=load_listeners(look.listener or []),
        wrap=stopping,
    )
    if stopping is not None and done.agrees and not stopping.stops:
        hint = f"the roles are {', '.join(sorted(stopping.roles))}"
        raise ConfigError(f"no handler ran at {look.debug_at}", hint=hint)
    _tell(done, as_json=way.json)
    if not done.agrees:
        raise typer.Exit(1)


def _debug_point(text: str) -> tuple[tuple[int, int], str]:
    if text.count(":") == 1:
        return parse_point(text), ""
    return parse_role_point(text)


def _tell(done: Replay, *, as_json: bool) -> None:
    if as_json:
        write_json(_facts(done))
        return
    console = plain(folding=False)
    for difference in done.differences:
        console.print(told(done, difference))
    rate = done.envelopes / max(done.seconds, 1e-9)
    console.print(f"{verdict(done)}\n{done.envelopes:,} envelopes, {rate:,.0f} a second")
    console.print(f"digest  {done.digest}")
    for name, result in done.listeners.items():
        console.print(f"{name}: {msgspec.json.encode(result).decode()}")


def verdict(done: Replay) -> str:
    """Return what a replay came to, in a sentence."""
    if done.differences:
        count = len(done.differences)
        return f"{done.run} differs" + (f" in {count:,} places." if count > 1 else ".")
    if not done.whole or not done.finished:
        return f"{done.run} agrees as far as it goes; finish it with: {resuming(Path(done.run))}"
    return f"{done.run} agrees to the byte."


def _facts(done: Replay) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(done)
    facts["agrees"] = done.agrees
    facts["verdict"] = verdict(done)
    return facts
