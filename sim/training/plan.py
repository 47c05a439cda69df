"""What is trained: an algorithm with its settings, and the world that it learns in."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from agents.policies.learned.saved import Privilege
from agents.settings import Count, Positive, Share
from engine.errors import ConfigError
from sim.config.layers import configured, merged
from sim.config.run import RunConfig, Settings
from storage.environments import Environment

Algorithm: TypeAlias = Literal["dqn", "sqn", "bcq", "cql", "crr", "a2c", "dorl"]

ALGORITHMS: Mapping[str, str] = {
    "dqn": "deep Q-learning in the world itself (arXiv 1312.5602, double as in 1509.06461)",
    "sqn": "Q-learning beside a supervised head, which plays, from a log (arXiv 2006.05779)",
    "bcq": "Q-learning among what the log is likely to do (arXiv 1910.01708)",
    "cql": "Q-learning that expects little of what the log lacks (arXiv 2006.04779)",
    "crr": "regression on what the log did better than average (arXiv 2006.15134)",
    "a2c": "actor and critic in the world itself (arXiv 1602.01783)",
    "dorl": "actor and critic in a model of the world fitted to a log (arXiv 2307.04571)",
}
"""Every algorithm by name, and what it does."""

_ACTOR: Settings = {
    **{"updates": 240, "rate": 1e-3, "batch": 1_024, "discount": 0.99, "inertia": 0.95},
}

DEFAULTS: Mapping[str, Settings] = {
    "dqn": {"updates": 1_500, "visits": 64},
    "sqn": {"updates": 1_000, "episodes": 20_000},
    "bcq": {"updates": 800, "episodes": 20_000},
    "cql": {"updates": 800, "episodes": 20_000},
    "crr": {"updates": 1_000, "episodes": 20_000},
    "a2c": _ACTOR,
    "dorl": {**_ACTOR, "episodes": 20_000},
}
"""What is otherwise than in `Training` for an algorithm."""

_OF_THE_SEED = frozenset({"seed", "threads", "checkpoint"})
_OF_THE_WORLD = ("history", "limit", "quit_rule", "quit", "rewards")

Rate: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1)]


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an *algorithm* learns.

    *privileged* names what it is told that no agent could know: `pair`, the true nearness of items
    to the last ones. So many *updates* of its weights are made, each from a *batch* of steps at a
    learning *rate*; a step counts *discount* times the one before it. Who learns offline first logs
    *episodes* in which items were drawn at random; who learns in a world has so many *visits* at
    once, and an actor takes *rollout* steps of each between updates. A model of the
    world is fitted to so many batches (*fits*). *width* is how many numbers
    stand for an item, *hidden* how wide the layers are, *window* how many of the last items are
    seen. What is played in the end is the mean of the weights, of which an update is the share
    1 − *inertia*. A *checkpoint* is written after so many updates. *threads* leave no mark but in
    the last digits.
    """

    algorithm: Algorithm
    seed: Count = 0
    privileged: tuple[Privilege, ...] = ()
    updates: Positive = 1_000
    episodes: Count = 0
    visits: Positive = 128
    rollout: Positive = 8
    batch: Positive = 128
    discount: Share = 0.9
    rate: Rate = 5e-4
    width: Annotated[int, msgspec.Meta(ge=16, le=1_024)] = 32
    hidden: Positive = 128
    window: Positive = 4
    inertia: Share = 0.995
    fits: Positive = 600
    checkpoint: Positive = 100
    threads: Positive = 1


def training(algorithm: str, *layers: Mapping[str, Any]) -> Training:
    """Return how *algorithm* learns, with *layers* of settings over its defaults.

    Raises ConfigError for what cannot be used.
    """
    if algorithm not in ALGORITHMS:
        hint = f"there are {', '.join(ALGORITHMS)}"
        raise ConfigError(f"there is no algorithm {algorithm!r}", hint=hint)
    settings = merged(DEFAULTS[algorithm], *layers, {"algorithm": algorithm})
    try:
        made = msgspec.convert(settings, Training, strict=False)
    except msgspec.ValidationError as error:
        what = str(error).replace("`", "")
        raise ConfigError(f"not a training: {what[:1].lower()}{what[1:]}") from error
    if offline(made) and not made.episodes:
        raise ConfigError(f"{algorithm} learns from a log, which needs episodes", hint="--episodes")
    return made


def offline(plan: Training) -> bool:
    """Tell whether it learns from a log of random episodes, and from nothing else."""
    return plan.algorithm not in {"dqn", "a2c"}


def world_of(*layers: Mapping[str, Any]) -> RunConfig:
    """Return the configuration whose users are learned from; raises ConfigError."""
    return configured(*layers, {"agent": "random", "episodes": 1})


def deciding(config: RunConfig) -> Settings:
    """Return the settings of the world that decide what is learned."""
    settings = config.settings()
    return {name: settings[name] for name in ("environment", *_OF_THE_WORLD)}


def recipe(plan: Training, config: RunConfig, environment: Environment) -> str:
    """Return a name for all that policies of several seeds have in common: 8 digits of a sha256."""
    own = {
        name: value for name, value in msgspec.to_builtins(plan).items() if name not in _OF_THE_SEED
    }
    settings = deciding(config) | {"environment": environment.head.digest}
    content = msgspec.json.encode([own, settings], order="sorted")
    return sha256(content).hexdigest()[:8]
