"""The configuration of a run.

Everything decides what the trace says, except the settings named in `OPERATIONAL`: those may only
change how long a run takes, where it goes and what it costs.

An agent and a quit rule bring settings of their own: the fields of the agent's stand among those of
the run, as tables; the rule's are the table `quit`.
"""

from collections.abc import Container, Iterator
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from agents.making import Agent
from agents.models.batches import MOST_LINES
from agents.models.guards.budget import Price
from agents.models.providers import Api, Service, plain_name
from agents.models.remote.vectors import ROLE as EMBEDDING
from agents.roster import AGENTS, spelled_out
from agents.settings import Count, LocalSettings, Positive, Rate, Repeats, RoleSettings, Share
from engine.errors import ConfigError
from engine.messages import Setting
from sim.world.quitting import QuitRule, rule_named
from sim.world.retention import RetentionSettings
from sim.world.rewards import RewardSettings
from storage.files import Durability

Settings: TypeAlias = dict[str, Any]
Audience: TypeAlias = Literal["train", "test", "all"]
TestMemory: TypeAlias = Literal["frozen", "learning"]
MOST_WORKERS = 256
"""Processes that one run can feed, and more than most machines have processors."""

MOST_EPISODES = 10_000_000
"""Who visits when is drawn beforehand: more would not fit into memory."""

Workers: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MOST_WORKERS)]
Episodes: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MOST_EPISODES)]
Duration: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Patience: TypeAlias = Annotated[float, msgspec.Meta(ge=0.001, le=1e9)]

OPERATIONAL = frozenset(
    {
        *("base_url", "key_file", "azure_version", "concurrency", "running", "unreleased"),
        *("requests_per_minute", "tokens_per_minute", "attempts", "patience", "fsync", "prompts"),
        *("cache", "max_calls", "max_tokens_total", "max_cost", "prices", "metrics", "local"),
        *("tier", "embedding_tier", "batch_wait", "batch_size", "batch_poll", "certificate"),
        *("service", "api", "share_limits", "workers", "cluster"),
    }
)
"""Settings that leave no mark on a trace; nor do those of roles that are called like them."""

AT_ONCE = 10_000
"""Episodes that may run at once where calls go in batches, unless it is said."""

_DAY = 90_000.0  # seconds, and an hour more

_NAMED = ("environment", "agent", "model", "seed")

EARLIER: Settings = {"quit_rule": "billp", "rewards": {"satiation": [0.0, 0.0]}}
"""What goes without saying in a run.toml that was written before there were these settings."""

_LATER = {
    "quit_rule": "billp",
    "linucb.alpha": 1.0,
    "rewards.satiation": "0.0,0.0",
    "rewards.recovery": 0.8,
    "rewards.drift": 0.0,
    "dwell_by_reward": 0.0,
    "retention.chance": 1.0,
    "retention.loss": 0.0,
    "retention.delay": 0.0,
    "retention.steps": 50,
    "planner.taste": False,
    "actor.taste": False,
    "actor.surprises": False,
}
"""Settings that there were not at first: a trace names them where they are not what they were.

What they were, which the defaults need not be any more.
"""

_LATER_OF_ROLES = {"effort": "", "reasoning_tokens": 4_000}
"""The same, of the settings that each role has."""


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run. Durations are in seconds of virtual time, *patience* in seconds of real time.

    *environment* is a directory, `synthetic` or `synthetic:plain`. *episodes* first visits by
    *users* of the training or the test part, in an order drawn from the seed, each of up to
    *sessions* sessions with *return_gap* between them (least, mean beyond it), as their *retention*
    says. Then *test_episodes* test users visit, and if *test_every* is set, so do they at the
    beginning and after every so many training episodes; *test_memory* says whether they teach. Of a
    memory the last *memory_size* records can be recalled, or all. An episode shows *history* items
    and takes *limit* steps at most; the share *dwell_by_reward* of how long a user dwells is for
    the reward to decide. Users leave by *quit_rule*, whose settings are *quit*; `one+another` are
    several, with a table each. *structured* asks models for last choices (an item, a value) as
    JSON objects. *agent_settings* are those that the agent brings. *running* 0 stands for twice the
    calls in flight, or for many where a role's calls go in batches; other limits of 0 are none. All
    runs that name the same directory to *share_limits* keep these a minute together. *workers* are
    processes here, or in the *cluster* of Ray's at HOST:PORT, or in a `local` one. A
    batch is sent *batch_wait* seconds after the last call came that can come without it, or with
    *batch_size* calls, and asked for every *batch_poll* seconds. *prices* are of a million tokens,
    by the model's name. *metrics* are names of the user's own. *certificate* is a file of `billp
    probe`, of a model that is asked.
    """

    environment: str = "synthetic"
    agent: str = "billp"
    model: str = "embedded"
    seed: int = 0
    episodes: Episodes = 100
    users: Audience = "train"
    test_episodes: Annotated[int, msgspec.Meta(ge=0, le=MOST_EPISODES)] = 0
    test_every: Count = 0
    test_memory: TestMemory = "frozen"
    memory_size: Count = 0
    arrivals: str = "batches:10"
    publication_delay: Duration = 0.0
    sessions: Positive = 1
    return_gap: tuple[Duration, Duration] = (3600.0, 86400.0)
    retention: RetentionSettings = RetentionSettings()
    repeats: Repeats = "forbid"
    structured: bool = True
    history: Positive = 10
    limit: Positive = 50
    dwell: tuple[Duration, Duration] = (5.0, 60.0)
    dwell_by_reward: Share = 0.0
    embeddings: str = "hashing"
    quit_rule: str = "quantile"
    quit: Any = None
    rewards: RewardSettings = RewardSettings()
    agent_settings: Any = None
    base_url: str = ""
    key_file: str = ""
    azure_version: str = ""
    service: Service | Literal["auto"] = "auto"
    api: Api = "chat"
    local: LocalSettings = LocalSettings()
    certificate: str = ""
    concurrency: Positive = 16
    workers: Workers = 1
    cluster: str = ""
    requests_per_minute: Rate = 0.0
    tokens_per_minute: Rate = 0.0
    share_limits: str = ""
    running: Count = 0
    unreleased: Positive = 1_000
    attempts: Positive = 12
    patience: Patience = 300.0
    embedding_tier: Literal["default", "batch"] = "default"
    batch_wait: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 2.0
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=MOST_LINES)] = MOST_LINES
    batch_poll: Annotated[float, msgspec.Meta(ge=0.01, le=86_400)] = 60.0
    cache: str = ""
    max_calls: Count = 0
    max_tokens_total: Count = 0
    max_cost: Rate = 0.0
    prices: dict[str, Price] = {}
    fsync: Durability = "interval"
    prompts: bool = True
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        agent, own = spelled_out(self.agent)
        if own:
            msgspec.structs.force_setattr(self, "agent", agent)
            made = msgspec.convert(own, self.cast.settings)
            msgspec.structs.force_setattr(self, "agent_settings", self.agent_settings or made)
        for name, kind in self.brought().items():
            if getattr(self, name) is None:
                msgspec.structs.force_setattr(self, name, kind())
            elif not isinstance(getattr(self, name), kind):
                given = type(getattr(self, name)).__name__
                raise ConfigError(f"{name}: expected {kind.__name__}, got {given}")

    def brought(self) -> dict[str, type[msgspec.Struct]]:
        """Return the types of the settings that parts bring, by the field that holds them."""
        return {"quit": self.rule.settings, "agent_settings": self.cast.settings}

    @property
    def cast(self) -> Agent:
        """The agent; raises ConfigError if there is none of its name."""
        return AGENTS.named(self.agent)

    @property
    def rule(self) -> QuitRule:
        """The quit rule; raises ConfigError if there is none of its name."""
        return rule_named(self.quit_rule)

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
        return plain_name(self.embeddings) if self.embeddings != "hashing" else ""

    @property
    def roles(self) -> dict[str, RoleSettings]:
        """What each role of a model is told."""
        own = self.agent_settings
        tables = {name: getattr(own, name) for name in own.__struct_fields__}
        return {name: one for name, one in tables.items() if isinstance(one, RoleSettings)}

    @property
    def tiers(self) -> dict[str, str]:
        """The tiers of roles that are not the account's own, by role."""
        tiers = {role: settings.tier for role, settings in self.roles.items()}
        tiers[EMBEDDING] = self.embedding_tier if self.embedding_model else "default"
        return {role: tier for role, tier in tiers.items() if tier != "default"}

    @property
    def batched(self) -> bool:
        """Whether calls of some role go in batches."""
        return "batch" in self.tiers.values()

    @property
    def at_once(self) -> int:
        """How many episodes may run: with few at once batches would be small."""
        return self.running or (AT_ONCE if self.batched else 2 * self.concurrency)

    @property
    def elsewhere(self) -> bool:
        """Whether episodes are evaluated in other processes, here or in a cluster."""
        return self.workers > 1 or bool(self.cluster)

    @property
    def longest_wait(self) -> float:
        """After how many seconds an episode is reported that waits: batches take up to a day."""
        return max(self.patience, _DAY) if self.batched else self.patience

    def model_of(self, role: str) -> str:
        """Return the plain name of the model that a *role* asks."""
        return plain_name(self.roles[role].model or self.model)

    def settings(self) -> Settings:
        """Return all settings as run.toml has them, the agent's among them."""
        settings: Settings = {}
        for name, value in msgspec.to_builtins(self).items():
            settings |= value if name == "agent_settings" else {name: value}
        return settings

    def named(self) -> tuple[Setting, ...]:
        """Return what a trace's head says by name."""
        return self.environment, self.agent, plain_name(self.model), self.seed

    def deciding(self) -> tuple[tuple[str, Setting], ...]:
        """Return the settings that decide what the trace says, by dotted name."""
        settings, roles = self.settings(), self.roles
        place = self.cast.file.path if self.cast.file else ""
        for role in roles:
            settings[role]["model"] = plain_name(settings[role]["model"])
        return tuple(
            (name, value)
            for name, value in flat(settings)
            if name not in _NAMED
            and not leaves_no_mark(name, roles)
            and name != place
            and not _as_before(name, value, roles)
        )

    def differences(self, other: "RunConfig") -> dict[str, tuple[Setting | None, Setting | None]]:
        """Return what decides a run and is another thing in *other*: both values, by dotted name.

        None is what a setting is where there is none of its name.
        """
        own, others = _all_deciding(self), _all_deciding(other)
        return {
            name: (own.get(name), others.get(name))
            for name in {**own, **others}
            if own.get(name) != others.get(name)
        }


def _all_deciding(config: RunConfig) -> dict[str, Setting]:
    return {**dict(zip(_NAMED, config.named(), strict=True)), **dict(config.deciding())}


def leaves_no_mark(name: str, roles: Container[str]) -> bool:
    """Tell whether the setting of a dotted *name* decides nothing that a trace says."""
    first, _, last = name.partition(".")
    return first in OPERATIONAL or (first in roles and last in OPERATIONAL)


def _as_before(name: str, value: Setting, roles: Container[str]) -> bool:
    """Tell whether a setting that there was not at first is what it was then."""
    if name in _LATER:
        return value == _LATER[name]
    first, _, last = name.partition(".")
    return first in roles and last in _LATER_OF_ROLES and value == _LATER_OF_ROLES[last]


def flat(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Yield *settings* by their dotted names; several values of one setting become one text."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ",".join(str(part) for part in value)
        else:
            yield f"{prefix}{name}", value
