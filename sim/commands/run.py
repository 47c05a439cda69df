"""`billp run`: one command from a configuration to a trace and a table."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from agents.roster import AGENTS
from engine.errors import ConfigError
from sim.commands.located import environment_argument, environment_option
from sim.commands.options import gathered
from sim.commands.outputs import ShownOptions, Trust, tell, tell_estimate, views
from sim.config.layers import configured, merged, parse_set, read_config
from sim.config.run import RunConfig, Settings
from sim.experiments.estimate import estimate
from sim.runs.listeners import load_listeners
from sim.runs.run import run as run_episodes
from sim.runs.trust import check_config
from sim.world.quitting import QUIT_RULES

_DEFAULT = RunConfig()


@dataclass(frozen=True)
class WhatOptions:
    """What decides the trace; what is not given is left to the configuration."""

    environment: Annotated[str | None, environment_option("The environment, as ENV.")] = None
    agent: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(AGENTS.own)}, or one of a package, or MODULE:OBJECT; rl:PATH plays a "
            "policy of billp train.",
            show_default=_DEFAULT.agent,
        ),
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
    quit_rule: Annotated[
        str | None,
        typer.Option(
            help=f"Why users leave: {', '.join(QUIT_RULES.own)}, or several joined by +.",
            show_default=_DEFAULT.quit_rule,
        ),
    ] = None
    structured: Annotated[
        bool | None,
        typer.Option(
            "--structured/--no-structured",
            help="Ask for items and values as JSON objects, or in words.",
            show_default="structured",
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
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that evaluate episodes.", show_default=str(_DEFAULT.workers)),
    ] = None
    cluster: Annotated[
        str | None,
        typer.Option(
            help="The Ray cluster of the workers: HOST:PORT, or local to begin one.",
            show_default="none",
        ),
    ] = None

    certificate: Annotated[
        str | None,
        typer.Option(help="What billp probe wrote of the model: the run keeps it."),
    ] = None
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric of your own, told beside ours.", metavar="NAME"),
    ] = None


@dataclass(frozen=True)
class SpendingOptions:
    """What the model may be asked; none of it leaves a mark on the trace."""

    requests_per_minute: Annotated[
        float | None, typer.Option("--rpm", help="Calls a minute.", show_default="as told")
    ] = None
    tokens_per_minute: Annotated[
        float | None, typer.Option("--tpm", help="Tokens a minute.", show_default="as told")
    ] = None
    cache: Annotated[
        str | None, typer.Option(help="Keep replies in this directory, and take them from there.")
    ] = None
    max_calls: Annotated[
        int | None, typer.Option(help="Stop, resumable, before one call more.")
    ] = None
    max_tokens_total: Annotated[
        int | None, typer.Option(help="Stop, resumable, before more tokens in both directions.")
    ] = None
    max_cost: Annotated[
        float | None,
        typer.Option(help="Stop, resumable, before it costs more by the settings prices.NAME."),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Run nothing; tell calls, tokens, cost and time to expect."),
    ] = False


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
    trust: Trust = False

    def single(self) -> Settings:
        """Return the single settings."""
        return merged(*map(parse_set, self.set or []))


@dataclass(frozen=True)
class PlaceOptions:
    """Where a run goes."""

    out: Annotated[
        Path | None,
        typer.Option(help="The run directory.", show_default="the next in traces/runs"),
    ] = None


@gathered
def run(
    what: WhatOptions,
    how: HowOptions,
    spending: SpendingOptions,
    settings: SettingOptions,
    place: PlaceOptions,
    shown: ShownOptions,
    env: Annotated[
        str | None,
        environment_argument(
            "A directory built by billp env build, or its address.", _DEFAULT.environment
        ),
    ] = None,
) -> None:
    """Run episodes and record them.

    Without options: 100 episodes of BiLLP in the built-in world with the embedded model, which is
    a stand-in and not a language model.

    Exit status 0 if all went well; 2 for what cannot be run or a service that stopped it, 3 if it
    came to its end but episodes failed, 4 if its budget is spent, 130 if it was interrupted.
    """
    check_once(env, what.environment)
    asked = {**asdict(what), **asdict(how), **asdict(spending)}
    asked["environment"] = env or what.environment
    asked.pop("dry_run")
    asked["metrics"] = asked.pop("metric") or None
    given = {name: value for name, value in asked.items() if value is not None}
    config = gather(settings, given)
    if spending.dry_run:
        tell_estimate(estimate(config), shown)
        return
    if settings.config is not None and not settings.trust:
        check_config(settings.config, config, named=[given, settings.single()])
    listeners = load_listeners(shown.listener or [])
    summary = run_episodes(config, out=place.out, listeners=listeners, views=views(shown))
    tell(summary, shown)


def check_once(env: str | None, option: str | None) -> None:
    """Raise ConfigError if two environments are named, as ENV and by the *option*."""
    if env is not None and option not in {None, env}:
        hint = "leave one of them out"
        raise ConfigError(f"two environments are named, {env!r} and {option!r}", hint=hint)


def gather(settings: SettingOptions, asked: dict[str, Any]) -> RunConfig:
    """Return the configuration: a file, then the options, then single settings."""
    from_file = {} if settings.config is None else read_config(settings.config)
    return configured(from_file, asked, settings.single())
