"""Which configurations cannot be: what no type can say."""

import math
import re

from agents.models.providers import embeddings_opener
from agents.models.remote.addresses import check_address
from engine.errors import ConfigError
from sim.config.run import MOST_EPISODES, RunConfig, flat
from sim.metrics.own import METRICS

_RATES = frozenset({"requests_per_minute", "tokens_per_minute"})
_SLOWEST = 0.001  # a minute: less is to wait for ever
_CLUSTER = re.compile(r"local|[^\s:/]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}")
_WHOLE = 1 << 63  # as far as whole numbers can be written, in JSON and elsewhere


def check_values(config: RunConfig) -> None:
    """Raise ConfigError for values that cannot be used, alone or together."""
    _check_numbers(config)
    if config.episodes * config.sessions > MOST_EPISODES:
        raise ConfigError(
            f"a run has at most {MOST_EPISODES:,} episodes, got {config.episodes:,} users with"
            f" {config.sessions:,} sessions each",
            hint="split it into runs with seeds of their own",
        )
    if config.dwell[0] > config.dwell[1]:
        raise ConfigError(f"dwell must be two durations, the least first, got {config.dwell!r}")
    _check_addresses(config)
    if config.sessions > 1 and config.arrivals.startswith("batches"):
        hint = "use --arrivals poisson:RATE, or all"
        raise ConfigError("returning users do not go with arrivals in batches", hint=hint)
    _check_tests(config)
    if config.share_limits and not (config.requests_per_minute or config.tokens_per_minute):
        hint = "--set requests_per_minute=500"
        raise ConfigError("share_limits needs limits a minute to share", hint=hint)
    if config.cluster and not _CLUSTER.fullmatch(config.cluster):
        hint = "Ray Client (ray://) has no place for workers: run it on a node of the cluster"
        raise ConfigError(
            f"cluster: expected local or HOST:PORT, got {config.cluster!r}", hint=hint
        )
    if config.embeddings != "hashing":
        embeddings_opener(config.embeddings)
    for name in config.metrics:
        METRICS.named(name)


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
    for name, value in flat(config.settings()):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name} must be a finite number, got {value!r}")
        if isinstance(value, int) and not -_WHOLE <= value < _WHOLE:
            size = value.bit_length() + 1
            raise ConfigError(f"{name} must be a number of 64 bits, got one of {size:,}")
        if name.rpartition(".")[2] in _RATES and 0 < float(value) < _SLOWEST:
            raise ConfigError(f"{name} must be 0, for none, or at least {_SLOWEST}, got {value!r}")
