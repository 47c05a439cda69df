"""The configuration of a run.

Everything decides what the trace says, except the settings named in `OPERATIONAL`: those may only
change how long a run takes, where it goes and what it costs.
"""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import msgspec

from agents.models.chain import plain_name
from agents.models.guards.budget import Price
from agents.settings import (
    ActorSettings,
    AgentSettings,
    Count,
    CriticSettings,
    PlannerSettings,
    Rate,
    ReflectorSettings,
    Repeats,
    RoleSettings,
)
from engine.messages import Setting
from sim.world.quitting import QuitSettings
from sim.world.rewards import RewardSettings
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
_ROLES = frozenset({"planner", "actor", "critic", "reflector"})


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
        return tuple(
            (name, value)
            for name, value in flat(settings)
            if not leaves_no_mark(name) and name not in _NAMED
        )


def leaves_no_mark(name: str) -> bool:
    """Tell whether the setting of a dotted *name* decides nothing that a trace says."""
    first, _, last = name.partition(".")
    return first in OPERATIONAL or (first in _ROLES and last in OPERATIONAL)


def flat(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Yield *settings* by their dotted names; several values of one setting become one text."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ",".join(str(part) for part in value)
        else:
            yield f"{prefix}{name}", value
