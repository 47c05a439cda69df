"""The configuration of a run: defaults, then a file, then the command line.

Everything decides what the trace says, except the settings named in `OPERATIONAL`: those may only
change how long a run takes, where it goes and what it costs.
"""

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

import msgspec

from agents.actor import Repeats
from agents.models.budget import Price
from agents.models.chain import plain_name
from agents.settings import (
    ActorSettings,
    AgentSettings,
    Count,
    CriticSettings,
    PlannerSettings,
    Rate,
    ReflectorSettings,
    RoleSettings,
)
from engine.errors import ConfigError
from engine.messages import Setting
from sim.quitting import QuitSettings
from sim.rewards import RewardSettings
from storage.files import Durability

Settings: TypeAlias = dict[str, Any]
Audience: TypeAlias = Literal["train", "test", "all"]
TestMemory: TypeAlias = Literal["frozen", "learning"]

OPERATIONAL = frozenset(
    {
        *("base_url", "key_file", "azure_version", "concurrency", "running", "unreleased"),
        *("requests_per_minute", "tokens_per_minute", "attempts", "patience", "fsync", "prompts"),
        *("cache", "max_calls", "max_tokens_total", "max_cost", "prices"),
    }
)
"""Settings that leave no mark on a trace; nor do those of roles that are called like them."""

_NAMED = frozenset({"environment", "agent", "model", "seed"})


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run. Durations are in seconds of virtual time, *patience* in seconds of real time.

    *environment* is a directory or `synthetic`. *episodes* first visits by *users* of the training
    or the test part, in an order drawn from the seed, each of up to *sessions* sessions with
    *return_gap* between them (least, mean beyond it). Then *test_episodes* test users visit, and
    if *test_every* is set, so do they at the beginning and after every so many training episodes;
    *test_memory* says whether they teach. Of a memory the last *memory_size* records can be
    recalled, or all. An episode shows *history* items and takes
    *limit* steps at most. *structured* asks models for JSON objects. *running* 0 stands for twice
    the calls in flight; other limits of 0 are none. *prices* are of a million tokens, by the
    model's name.
    """

    environment: str = "synthetic"
    agent: str = "billp"
    model: str = "embedded"
    seed: int = 0
    episodes: int = 100
    users: Audience = "train"
    test_episodes: Count = 0
    test_every: Count = 0
    test_memory: TestMemory = "frozen"
    memory_size: Count = 0
    arrivals: str = "batches:10"
    publication_delay: float = 0.0
    sessions: int = 1
    return_gap: tuple[float, float] = (3600.0, 86400.0)
    repeats: Repeats = "forbid"
    structured: bool = False
    history: int = 10
    limit: int = 50
    dwell: tuple[float, float] = (5.0, 60.0)
    embeddings: str = "hashing"
    quit: QuitSettings = QuitSettings()
    rewards: RewardSettings = RewardSettings()
    planner: PlannerSettings = PlannerSettings()
    actor: ActorSettings = ActorSettings()
    critic: CriticSettings = CriticSettings()
    reflector: ReflectorSettings = ReflectorSettings()
    base_url: str = ""
    key_file: str = ""
    azure_version: str = ""
    concurrency: int = 16
    requests_per_minute: Rate = 0.0
    tokens_per_minute: Rate = 0.0
    running: int = 0
    unreleased: int = 1_000
    attempts: int = 12
    patience: float = 300.0
    cache: str = ""
    max_calls: Count = 0
    max_tokens_total: Count = 0
    max_cost: Rate = 0.0
    prices: dict[str, Price] = {}
    fsync: Durability = "interval"
    prompts: bool = True

    @property
    def tested_after(self) -> tuple[int, ...]:
        """After how many training episodes there is a test."""
        if not self.test_episodes:
            return ()
        every = self.test_every or self.episodes
        first = 0 if self.test_every else self.episodes
        return tuple(sorted({*range(first, self.episodes, every), self.episodes}))

    @property
    def visits(self) -> int:
        """How many episodes there will be."""
        return self.episodes * self.sessions + len(self.tested_after) * self.test_episodes

    @property
    def embedding_model(self) -> str:
        """The name of a service's embedding model, or empty for the built-in embeddings."""
        return self.embeddings.removeprefix("openai/") if self.embeddings != "hashing" else ""

    @property
    def roles(self) -> dict[str, RoleSettings]:
        """What each role of a model is told."""
        return {
            "planner": self.planner,
            "actor": self.actor,
            "critic": self.critic,
            "reflector": self.reflector,
        }

    @property
    def agent_settings(self) -> AgentSettings:
        """The part that agents are told."""
        return AgentSettings(
            repeats=self.repeats,
            structured=self.structured,
            planner=self.planner,
            actor=self.actor,
            critic=self.critic,
            reflector=self.reflector,
        )

    def named(self) -> tuple[Setting, ...]:
        """Return what a trace's head says by name."""
        return self.environment, self.agent, plain_name(self.model), self.seed

    def deciding(self) -> tuple[tuple[str, Setting], ...]:
        """Return the settings that decide what the trace says, by dotted name."""
        settings = msgspec.to_builtins(self)
        for role in self.roles:
            settings[role]["model"] = plain_name(settings[role]["model"])
        flat = _flat(settings)
        return tuple(
            (name, value) for name, value in flat if not leaves_no_mark(name) and name not in _NAMED
        )


def leaves_no_mark(name: str) -> bool:
    """Tell whether the setting of a dotted *name* decides nothing that a trace says."""
    first, _, last = name.partition(".")
    return first in OPERATIONAL or (first in _ROLES and last in OPERATIONAL)


_ROLES = frozenset({"planner", "actor", "critic", "reflector"})


def _flat(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ",".join(str(part) for part in value)
        else:
            yield f"{prefix}{name}", value


def read_config(path: Path) -> Settings:
    """Return the settings of a TOML file; raises ConfigError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
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
            return tomllib.loads(f"{key} = {written}")
        except ValueError:  # no TOML, or a number beyond all bounds: then it is a word
            continue
    raise ConfigError(f"{key!r} is no name of a setting", hint="such as quit.window")


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
    _check_values(config)
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
                raise ConfigError(f"{prefix + name!r} is a table of settings, got {value!r}")
            _check_keys(value, known[name], f"{prefix}{name}.")


_FREE = "prices"  # its keys are the names of models


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
    return ConfigError(f"{name}: {expected[:1].lower()}{expected[1:]}, got {value!r}", hint=hint)


def _default(name: str) -> Any:
    value: Any = RunConfig()
    for part in name.split("."):
        value = getattr(value, part)
    return value


_CHOICES: dict[str, tuple[str, ...]] = {
    "repeats": get_args(Repeats),
    "users": get_args(Audience),
    "test_memory": get_args(TestMemory),
    "fsync": get_args(Durability),
}


_LEAST: Sequence[tuple[str, float]] = (
    ("episodes", 1),
    ("sessions", 1),
    ("limit", 1),
    ("history", 1),
    ("concurrency", 1),
    ("attempts", 1),
    ("unreleased", 1),
    ("running", 0),
    ("publication_delay", 0),
    ("patience", 0.001),
)


def _check_values(config: RunConfig) -> None:
    for name, least in _LEAST:
        if not getattr(config, name) >= least:
            raise ConfigError(f"{name} must be at least {least:g}, got {getattr(config, name)!r}")
    _check_durations(config)
    _check_addresses(config)
    if config.sessions > 1 and config.arrivals.startswith("batches"):
        hint = "use --arrivals poisson:RATE, or all"
        raise ConfigError("returning users do not go with arrivals in batches", hint=hint)
    _check_tests(config)
    if config.embeddings != "hashing" and not config.embeddings.startswith("openai/"):
        hint = "use hashing or openai/NAME"
        raise ConfigError(f"there are no embeddings {config.embeddings!r}", hint=hint)


def _check_addresses(config: RunConfig) -> None:
    for url in (config.base_url, *(role.base_url for role in config.roles.values())):
        if "@" in _host(url):
            raise ConfigError(
                "a base_url must hold no user and no password: it is written to run.toml",
                hint="put the key into the environment or into a key_file",
            )


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError as error:
        raise ConfigError(f"base_url: not an address: {url!r}") from error


def _check_tests(config: RunConfig) -> None:
    if not config.test_episodes:
        if config.test_every:
            raise ConfigError("test_every needs test_episodes", hint="--set test_episodes=100")
        return
    if config.users != "train":
        hint = "leave users at train"
        raise ConfigError("users that are tested must not be trained on as well", hint=hint)
    if config.sessions > 1:
        raise ConfigError("a test does not go with returning users", hint="--set sessions=1")
    if config.test_every and config.test_memory == "learning":
        hint = "--set test_memory=frozen"
        raise ConfigError("a learning curve is not one if its tests teach", hint=hint)


def _check_durations(config: RunConfig) -> None:
    for name, value in _flat(msgspec.to_builtins(config)):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name} must be a finite number, got {value!r}")
    if not 0 <= config.dwell[0] <= config.dwell[1] < math.inf:
        raise ConfigError(f"dwell must be two durations, the least first, got {config.dwell!r}")
    if not all(0 <= gap < math.inf for gap in config.return_gap):
        raise ConfigError(f"return_gap must be two durations, got {config.return_gap!r}")
