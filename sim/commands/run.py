"""`billp run`: one command from a configuration to a trace and a table."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from sim.commands.options import gathered
from sim.config import RunConfig, configured, merged, parse_set, read_config
from sim.extensions import load_extensions
from sim.live import View
from sim.run import run as run_episodes
from sim.summary import Summary
from sim.views.progress import ProgressView
from sim.views.report import report

_DEFAULT = RunConfig()


@dataclass(frozen=True)
class WhatOptions:
    """What decides the trace; what is not given is left to the configuration."""

    agent: Annotated[
        str | None,
        typer.Option(help="billp, random, popular or diverse-greedy.", show_default=_DEFAULT.agent),
    ] = None
    episodes: Annotated[
        int | None, typer.Option(help="How many.", show_default=str(_DEFAULT.episodes))
    ] = None
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything.", show_default=str(_DEFAULT.seed))
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            help="embedded (a stand-in without a key, not a language model) or openai/NAME.",
            show_default=_DEFAULT.model,
        ),
    ] = None
    arrivals: Annotated[
        str | None,
        typer.Option(
            help="all, batches:N or poisson:RATE (a second of virtual time).",
            show_default=_DEFAULT.arrivals,
        ),
    ] = None
    publication_delay: Annotated[
        float | None,
        typer.Option(
            help="Virtual seconds until what an episode taught can be known.",
            show_default=f"{_DEFAULT.publication_delay:g}",
        ),
    ] = None
    repeats: Annotated[
        str | None,
        typer.Option(
            help="Items shown before: forbid, avoid or allow.", show_default=_DEFAULT.repeats
        ),
    ] = None


@dataclass(frozen=True)
class HowOptions:
    """What leaves no mark on the trace."""

    base_url: Annotated[
        str | None, typer.Option(help="Where the service is.", show_default="OpenAI's")
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(help="Model calls in flight.", show_default=str(_DEFAULT.concurrency)),
    ] = None


@dataclass(frozen=True)
class SettingOptions:
    """Settings from a file, and any setting by its name."""

    config: Annotated[
        Path | None, typer.Option(help="Settings from a TOML file; the command line wins.")
    ] = None
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any setting, as in run.toml: planner.recall_count=3.",
            metavar="KEY=VALUE",
        ),
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """Where a run goes, and what is said of it."""

    out: Annotated[
        Path | None,
        typer.Option(help="The run directory.", show_default="the next in traces/runs"),
    ] = None
    listener: Annotated[
        list[str] | None,
        typer.Option(help="A listener or follower of your own.", metavar="MODULE:CLASS"),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no table.")] = False


@gathered
def run(
    what: WhatOptions,
    how: HowOptions,
    settings: SettingOptions,
    output: OutputOptions,
    env: Annotated[
        str | None,
        typer.Argument(
            metavar="ENV",
            help="A directory built by billp env build.",
            show_default=_DEFAULT.environment,
        ),
    ] = None,
) -> None:
    """Run episodes and record them.

    Without options: 100 episodes of BiLLP in the built-in world with the embedded model, which is
    a stand-in and not a language model.
    """
    asked = {"environment": env, **asdict(what), **asdict(how)}
    config = gather(settings, {name: value for name, value in asked.items() if value is not None})
    extensions = load_extensions(output.listener or [])
    views: list[View] = [] if output.quiet else [ProgressView()]
    summary = run_episodes(config, out=output.out, extensions=extensions, views=views)
    tell(summary, as_json=output.json, quiet=output.quiet)


def gather(settings: SettingOptions, asked: dict[str, Any]) -> RunConfig:
    """Return the configuration: a file, then the options, then single settings."""
    from_file = {} if settings.config is None else read_config(settings.config)
    single = merged(*map(parse_set, settings.set or []))
    return configured(from_file, asked, single)


def tell(summary: Summary, *, as_json: bool, quiet: bool) -> None:
    """Write the summary to standard output as was asked."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(summary.flat()).decode() + "\n")
    elif not quiet:
        Console(markup=False, highlight=False).print(report(summary), crop=False)
