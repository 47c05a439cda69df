"""Settings in layers: defaults, then a file, then the command line."""

import json
import re
from collections.abc import Mapping
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import msgspec

from agents.settings import Repeats
from engine.errors import ConfigError
from sim.config.checks import check_values
from sim.config.run import Audience, RunConfig, Settings, TestMemory
from storage.files import Durability
from storage.reading import SETTINGS_SIZE, at_most, parse_toml

_FREE = "prices"  # its keys are the names of models
_SHOWN = 80  # characters of a value
_CHOICES: dict[str, tuple[str, ...]] = {
    "repeats": get_args(Repeats),
    "users": get_args(Audience),
    "test_memory": get_args(TestMemory),
    "fsync": get_args(Durability),
}


def read_config(path: Path) -> Settings:
    """Return the settings of a TOML file; raises ConfigError if it cannot be read."""
    try:
        with path.open("rb") as file:  # of the user's own naming: it may come through a pipe
            return parse_toml(at_most(file, path, SETTINGS_SIZE))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such configuration") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a configuration: {error}") from error


def parse_set(text: str) -> Settings:
    """Return the settings that `key=value` stands for, nested by the dots of the key."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key or "\n" in text:
        raise ConfigError(f"expected key=value, got {text!r}", hint="such as --set history=5")
    for written in (value, json.dumps(value)):
        try:
            tables = parse_toml(f"{key} = {written}".encode())
        except ValueError:  # no TOML, or a number beyond all bounds: then it is a word
            continue
        if not _dated(tables):  # no setting is a date; an Azure version looks like one
            return tables
    raise ConfigError(f"{key!r} is no name of a setting", hint="such as quit.window")


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
    _check_keys(settings, msgspec.to_builtins(RunConfig()), "")
    try:
        config = msgspec.convert(settings, RunConfig, strict=False)
    except msgspec.ValidationError as error:
        raise _unusable(str(error), settings) from error
    check_values(config)
    return config


def _check_keys(settings: Settings, known: Settings, prefix: str) -> None:
    for name, value in settings.items():
        if name == _FREE:
            continue
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"there is no setting {prefix + name!r}", hint=hint)
        if isinstance(known[name], dict):
            if not isinstance(value, dict):
                raise ConfigError(f"{prefix + name!r} is a table of settings, got {_short(value)}")
            _check_keys(value, known[name], f"{prefix}{name}.")


def _unusable(text: str, settings: Settings) -> ConfigError:
    """Return the error of a value of the wrong kind: what was expected, what came."""
    what, _, path = text.partition(" - at `$.")
    name, inside, _ = path.rstrip("`").partition("[...]")  # msgspec hides the keys of prices
    value: Any = settings
    for part in re.findall(r"[^.\[\]]+", name):
        value = value[int(part)] if isinstance(value, list | tuple) else value[part]
    expected = what.partition(", got")[0].replace("`", "")
    if what.startswith("Invalid enum value"):
        expected = f"expected one of {', '.join(_CHOICES.get(name, ()))}"
    unnamed = inside or "[" in name
    hint = "" if unnamed else f"--set {name}={msgspec.to_builtins(_default(name))}"
    return ConfigError(
        f"{name}: {expected[:1].lower()}{expected[1:]}, got {_short(value)}", hint=hint
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _default(name: str) -> Any:
    value: Any = RunConfig()
    for part in name.split("."):
        value = getattr(value, part)
    return value
