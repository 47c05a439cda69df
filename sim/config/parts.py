"""Which packages a run has its parts from: noted in run.toml, and looked for when it is read.

A run from elsewhere is data: it imports what is ours and what installed packages offer, and no
module of its choice.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from agents.models.providers import PROVIDERS, provider_of
from agents.roster import AGENTS
from engine.attempt import log
from engine.errors import ConfigError, RunDirectoryError
from sim.config.run import RunConfig, Settings, flat
from sim.metrics.own import METRICS, Metric
from sim.world.quitting import QUIT_RULES, names_of
from storage.parts import Parts


def part_origins(configs: Iterable[RunConfig]) -> dict[str, str]:
    """Return the package and version of each part that is none of ours, by its kind and name."""
    return {
        f"{parts.what} {name}": origin
        for config in configs
        for parts, name in _named(config.settings())
        if (origin := parts.origin(name))
    }


def own_metrics(config: RunConfig) -> dict[str, Metric]:
    """Return the metrics of the user's own, by name."""
    return {name: METRICS.named(name) for name in config.metrics}


def check_parts(settings: Settings, *, proven: bool) -> None:
    """Raise RunDirectoryError if a part that a run needs is not here; tell of other versions.

    Where run.toml is not *proven* to be written here, so it does for a module of its choice.
    """
    whole = [settings, *(fork["config"] for fork in settings.get("forks", []) if "config" in fork)]
    named = [one for part in whole for one in _named(part)]
    for parts, name in named:
        if not proven and parts.is_place(name):
            raise RunDirectoryError(
                f"run.toml: was not written here, and would import {name!r} as its {parts.what}",
                hint="offer it as an entry point of an installed package",
            )
    origins = settings.get("parts", {})
    for parts, name in named:
        then = origins.get(f"{parts.what} {name}") if isinstance(origins, dict) else None
        if then is not None:
            _check(parts, name, str(then))


def _named(settings: Settings) -> Iterator[tuple[Parts[Any], str]]:
    """Yield the parts that *settings* name."""
    for name, value in flat(settings):
        if name == "agent":
            yield AGENTS, str(value)
        elif name == "quit_rule":
            yield from ((QUIT_RULES, rule) for rule in names_of(str(value)))
        elif name == "metrics":
            yield from ((METRICS, metric) for metric in str(value).split(",") if metric)
        elif value and (name == "model" or name.endswith(".model")):
            yield PROVIDERS, provider_of(str(value))


def _check(parts: Parts[Any], name: str, then: str) -> None:
    try:
        parts.named(name)
    except ConfigError as error:
        what = f"the run needs the {parts.what} {name!r} of {then}, which is not here: {error}"
        raise RunDirectoryError(what, hint="install it, as it was then") from error
    now = parts.origin(name)
    if now != then:
        log(
            "warning",
            "another version than the run had",
            part=f"{parts.what} {name}",
            then=then,
            now=now,
        )
