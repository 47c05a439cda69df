"""`billp fork`: a recorded run up to a step, then on with something changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from sim.commands.located import Moved, located
from sim.commands.options import gathered
from sim.commands.outputs import ShownOptions, Trust, tell, views
from sim.commands.places import parse_point
from sim.config.layers import merged, parse_set
from sim.config.run import Settings
from sim.runs.fork import FORKABLE
from sim.runs.fork import fork as fork_run
from sim.runs.listeners import load_listeners
from sim.runs.trust import confirmed
from storage.datasets import open_environment


@dataclass(frozen=True)
class ChangeOptions:
    """What becomes different."""

    at: Annotated[
        str,
        typer.Option(
            help="From this step on, in canonical order.",
            metavar="EPISODE:STEP",
            show_default=False,
        ),
    ]
    set: Annotated[
        list[str] | None,
        typer.Option("--set", help=f"A setting: {', '.join(FORKABLE)}.", metavar="KEY=VALUE"),
    ] = None
    say: Annotated[
        list[str] | None,
        typer.Option(help="What a role says at that step.", metavar="ROLE=TEXT"),
    ] = None
    model: Annotated[str | None, typer.Option(help="embedded or openai/NAME.")] = None
    base_url: Annotated[str | None, typer.Option(help="Where the service is.")] = None
    trust: Trust = False

    def settings(self) -> Settings:
        """Return the settings that change."""
        named = {"model": self.model, "base_url": self.base_url}
        given = {name: value for name, value in named.items() if value is not None}
        return merged(given, *map(parse_set, self.set or []))


@dataclass(frozen=True)
class PlaceOptions:
    """Where the fork goes, and where its environment is."""

    out: Annotated[
        Path | None,
        typer.Option(help="The fork's directory.", show_default="the next in traces/runs"),
    ] = None
    environment: Moved = None


@gathered
def fork(
    run: Annotated[Path, located("RUN", "The parent's run directory, or its address.")],
    change: ChangeOptions,
    place: PlaceOptions,
    shown: ShownOptions,
) -> None:
    """Live a recorded run again up to a step, then on with something changed.

    Calls that come to ask the same as in the parent keep their replies.
    """
    environment = None if place.environment is None else open_environment(place.environment)
    summary = fork_run(
        run,
        parse_point(change.at),
        settings=[*([confirmed(run)] if change.trust else []), change.settings()],
        say=dict(map(_said, change.say or [])),
        out=place.out,
        environment=environment,
        listeners=load_listeners(shown.listener or []),
        views=views(shown),
    )
    tell(summary, shown)


def _said(text: str) -> tuple[str, str]:
    role, equals, words = text.partition("=")
    if not equals:
        raise ConfigError(f"expected ROLE=TEXT, got {text!r}", hint='--say planner="Take Puzzle."')
    return role, words
