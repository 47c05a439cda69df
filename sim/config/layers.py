"""Settings in layers: defaults, then a file, then the command line."""

import json
import re
from collections.abc import Mapping
from datetime import date, time
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from agents.roster import spelled_out
from engine.arrivals import plain_rule
from engine.errors import ConfigError
from sim.config.checks import check_values
from sim.config.run import RunConfig, Settings
from storage.provenance import NAME as PROVENANCE
from storage.reading import SETTINGS_SIZE, at_most, parse_toml

_PRICES = "prices"
_SHOWN = 80  # characters of a value


def read_config(path: Path) -> Settings:
    """Return the settings of a TOML file; raises ConfigError if it cannot be read.

    Where the run.toml of a run comes from is no setting.
    """
    try:
        with path.open("rb") as file:  # of the user's own naming: it may come through a pipe
            found = parse_toml(at_most(file, path, SETTINGS_SIZE))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such configuration") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a configuration: {error}") from error
    return {name: value for name, value in found.items() if name != PROVENANCE}


def parse_set(text: str) -> Settings:
    """Return the settings that `key=value` stands for, nested by the dots of the key."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key or "\n" in text:
        raise ConfigError(f"expected key=value, got {text!r}", hint="such as --set history=5")
    key = _priced(key, of_model=value.startswith("{"))
    for written in (value, json.dumps(value)):
        try:
            tables = parse_toml(f"{key} = {written}".encode())
        except ValueError:  # no TOML, or a number beyond all bounds: then it is a word
            continue
        if not _dated(tables):  # no setting is a date; an Azure version looks like one
            return tables
    raise ConfigError(f"{key!r} is no name of a setting", hint="such as quit.window")


def _priced(key: str, *, of_model: bool) -> str:
    """Return a *key* whose model, if it sets a price, is one name, whatever signs are in it."""
    table, _, rest = key.partition(".")
    name, dot, part = (rest, "", "") if of_model else rest.rpartition(".")
    if table != _PRICES or not name or name[0] in "\"'":
        return key
    return f"{table}.{json.dumps(name)}{dot}{part}"


def _whole_names(prices: Mapping[str, Any], before: str = "") -> Settings:
    """Return *prices* by model: a file that names one without quotes has a table for each dot."""
    found: Settings = {}
    for name, price in prices.items():
        tables = isinstance(price, Mapping) and [isinstance(v, Mapping) for v in price.values()]
        if tables and all(tables):
            found |= _whole_names(price, f"{before}{name}.")
        else:
            found[before + name] = price
    return found


def _dated(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_dated, value.values()))
    return isinstance(value, date | time)


def merged(*layers: Mapping[str, Any]) -> Settings:
    """Return the settings of all *layers*; later ones win."""
    result: Settings = {}
    for layer in layers:
        for name, value in layer.items():
            known = result.get(name)
            nested = isinstance(value, Mapping) and isinstance(known, Mapping)
            result[name] = merged(known or {}, value) if nested else value
    return result


def configured(*layers: Mapping[str, Any]) -> RunConfig:
    """Return the configuration that *layers* of settings make; later ones win.

    Raises ConfigError for a key that does not exist, naming the nearest, and for a value that
    cannot be used.
    """
    settings = merged(*layers)
    if isinstance(prices := settings.get(_PRICES), Mapping):
        settings[_PRICES] = _whole_names(prices)
    if isinstance(settings.get("agent"), str):
        name, of_file = spelled_out(settings["agent"])
        settings = merged(settings, of_file, {"agent": name})
    named = {name: value for name, value in settings.items() if name in {"agent", "quit_rule"}}
    plain = RunConfig(**_converted(named, _kinds(RunConfig), {}))
    own = _kinds(plain.cast.settings)
    kinds = {**_kinds(RunConfig), **own, "quit": plain.rule.settings}
    del kinds["agent_settings"]
    found = _converted(settings, kinds, plain.settings())
    brought = {name: found.pop(name) for name in own if name in found}
    own_settings = plain.cast.settings(**brought)
    if plain.cast.file is not None:
        own_settings = plain.cast.file.completed(own_settings, found.get("seed", plain.seed))
    config = RunConfig(**found, agent_settings=own_settings)
    check_values(config)
    return msgspec.structs.replace(config, arrivals=plain_rule(config.arrivals))


def checked(config: RunConfig) -> RunConfig:
    """Return *config*, which may have been made in Python; raises ConfigError as `configured`."""
    return configured(config.settings())


@cache  # a run's settings are read several times, and each time msgspec resolves all annotations
def _kinds(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def _converted(
    settings: Settings, kinds: Mapping[str, Any], defaults: Settings, prefix: str = ""
) -> Settings:
    """Return *settings* as values of their *kinds*; tables of settings become what they stand for.

    One by one: so it is known which of them cannot be used.
    """
    found: Settings = {}
    for name, value in settings.items():
        if name not in kinds:
            near = get_close_matches(name, kinds, n=1, cutoff=0.5)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"there are {', '.join(kinds)}"
            raise ConfigError(f"there is no setting {prefix + name!r}", hint=hint)
        kind = kinds[name]
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            found[name] = _value(prefix + name, value, kind, defaults.get(name))
        elif isinstance(value, Mapping):
            inner = _converted(
                dict(value), _kinds(kind), defaults.get(name, {}), f"{prefix}{name}."
            )
            found[name] = kind(**inner)
        else:
            raise ConfigError(f"{prefix + name!r} is a table of settings, got {_short(value)}")
    return found


def _value(name: str, value: Any, kind: Any, default: Any) -> Any:
    """Return the *value* of one setting; raises ConfigError: what was expected, what came."""
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        expected, _, place = str(error).partition(" - at `")
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        if choices:
            expected = f"expected one of {', '.join(choices)}"
        expected = expected.partition(", got")[0].replace("`", "")
        hint = "" if isinstance(default, dict) or place else f"--set {name}={default}"
        inside = re.fullmatch(r"\$(\[(\d+)\])`", place)
        if inside:  # one of several values
            name, value = f"{name}{inside[1]}", value[int(inside[2])]
        what = f"{expected[:1].lower()}{expected[1:]}, got {_short(value)}"
        raise ConfigError(f"{name}: {what}", hint=hint) from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
