"""Which configurations cannot be: what no type can say."""

import math
from collections.abc import Sequence

import msgspec

from agents.models.remote.addresses import check_address
from engine.errors import ConfigError
from sim.config.run import RunConfig, flat

LEAST: Sequence[tuple[str, float]] = (
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
"""The least that a setting may be."""

MOST_EPISODES = 10_000_000
"""Who visits when is drawn beforehand: more would not fit into memory."""

_RATES = frozenset({"requests_per_minute", "tokens_per_minute"})
_SLOWEST = 0.001  # a minute: less is to wait for ever
_LONGEST = 1e9  # seconds: 31 years
_WHOLE = 1 << 63  # as far as whole numbers can be written, in JSON and elsewhere


def check_values(config: RunConfig) -> None:
    """Raise ConfigError for values that cannot be used, alone or together."""
    _check_numbers(config)
    for name, least in LEAST:
        if not getattr(config, name) >= least:
            raise ConfigError(f"{name} must be at least {least:g}, got {getattr(config, name)!r}")
    most = max(config.episodes * config.sessions, config.test_episodes)
    if most > MOST_EPISODES:
        raise ConfigError(
            f"a run has at most {MOST_EPISODES:,} episodes, got {most:,}",
            hint="split it into runs with seeds of their own",
        )
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
        check_address(url)


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


def _check_numbers(config: RunConfig) -> None:
    for name, value in flat(msgspec.to_builtins(config)):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name} must be a finite number, got {value!r}")
        if isinstance(value, int) and not -_WHOLE <= value < _WHOLE:
            size = value.bit_length() + 1
            raise ConfigError(f"{name} must be a number of 64 bits, got one of {size:,}")
        if name.rpartition(".")[2] in _RATES and 0 < float(value) < _SLOWEST:
            raise ConfigError(f"{name} must be 0, for none, or at least {_SLOWEST}, got {value!r}")


def _check_durations(config: RunConfig) -> None:
    if not 0 <= config.dwell[0] <= config.dwell[1] <= _LONGEST:
        raise ConfigError(f"dwell must be two durations, the least first, got {config.dwell!r}")
    if not all(0 <= gap <= _LONGEST for gap in config.return_gap):
        raise ConfigError(f"return_gap must be two durations, got {config.return_gap!r}")
    for name in ("publication_delay", "patience"):
        if getattr(config, name) > _LONGEST:
            given = getattr(config, name)
            raise ConfigError(f"{name} must be at most {_LONGEST:g} seconds, got {given:g}")
