"""A run put together: the world, the agents, the bus and the scheduler, from a configuration."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.memories import MEMORIES
from agents.models.chain import ModelSettings, plain_name
from agents.models.model import Sampling
from agents.roster import Setting, agent_named
from agents.trajectory import Trajectory, folding
from engine.arrivals import ONCE, Arrivals, Returns, arrivals
from engine.bus import Bus
from engine.chance import chance
from engine.episode import Answer, Embed
from engine.errors import ConfigError
from engine.messages import SCHEMA, ActionTaken, EpisodeStarted, RunEnded, RunStarted, UserResponded
from engine.scheduler import Bounds, Scheduler
from sim.config import RunConfig
from sim.metrics import HEARD, MetricsFollower
from sim.users import Users
from storage.environments import Environment
from storage.memory import Memory

_SECOND = 1000


@dataclass(frozen=True)
class Assembly:
    """What runs: subscribe followers and listeners to *bus*, then `run`."""

    bus: Bus[Trajectory]
    scheduler: Scheduler[Trajectory]
    memories: Mapping[str, Memory[Any]]
    metrics: MetricsFollower
    head: RunStarted

    async def run(self) -> RunEnded:
        """Run all episodes; raises what stopped the run."""
        return await self.scheduler.run(self.head)


def check_runnable(config: RunConfig, environment: Environment) -> None:
    """Raise ConfigError if *config* cannot be run in *environment*."""
    agent_named(config.agent)
    _arrivals(config, environment)
    items = len(environment.catalog)
    if config.repeats != "allow" and config.limit > items:
        raise ConfigError(
            f"{config.limit} steps without repeats need as many items, there are {items}",
            hint=f"--set limit={items}, or --repeats allow",
        )


def assemble(
    config: RunConfig,
    environment: Environment,
    *,
    answer: Answer,
    embed: Embed,
    seal: Callable[[], None],
) -> Assembly:
    """Return a run of *config* in *environment*; raises ConfigError for what cannot be run."""
    bus: Bus[Trajectory] = Bus()
    users = _users(config, environment)
    bus.subscribe(EpisodeStarted, users.arrive)
    bus.subscribe(ActionTaken, users.respond)
    bus.subscribe(UserResponded, users.go_on)
    setting = Setting(
        catalog=environment.catalog,
        settings=config.agent_settings,
        oracle=environment.factors,
        window=config.quit.window,
    )
    for types, handler in agent_named(config.agent)(setting):
        bus.subscribe(types, handler)
    metrics = MetricsFollower(environment.catalog)
    bus.follow(HEARD, metrics, essential=True)
    memories: dict[str, Memory[Any]] = {name.name: Memory(name) for name in MEMORIES}
    scheduler: Scheduler[Trajectory] = Scheduler(
        bus=bus,
        arrivals=_arrivals(config, environment),
        memories=memories,
        answer=answer,
        embed=embed,
        fold=folding(environment.catalog),
        opening=users.opening,
        seed=config.seed,
        delay=_delay(config),
        returns=_returns(config),
        bounds=Bounds(
            running=config.running or 2 * config.concurrency,
            unreleased=config.unreleased,
            patience=config.patience,
        ),
        seal=seal,
    )
    return Assembly(bus, scheduler, memories, metrics, head(config, environment))


def head(config: RunConfig, environment: Environment) -> RunStarted:
    """Return the head of the trace: all that decides the run, and not the way to the model."""
    return RunStarted(
        schema=SCHEMA,
        agent=config.agent,
        model=plain_name(config.model),
        environment=environment.head.digest,
        seed=config.seed,
        settings=config.deciding(),
    )


def model_settings(config: RunConfig) -> ModelSettings:
    """Return which models the roles have and the way to them."""
    return ModelSettings(
        models={role: settings.model or config.model for role, settings in config.roles.items()},
        embeddings=config.embedding_model,
        base_url=config.base_url,
        key_file=config.key_file,
        concurrency=config.concurrency,
        attempts=config.attempts,
    )


def samplings(config: RunConfig) -> dict[str, Sampling]:
    """Return for each role how its replies are drawn."""
    return {
        role: Sampling(
            model=plain_name(settings.model or config.model),
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
        )
        for role, settings in config.roles.items()
    }


def visitors(config: RunConfig, environment: Environment) -> list[tuple[int, int]]:
    """Return who visits, as (user, first session), in an order drawn from the seed.

    When there are more episodes than users, everybody comes again in the same order.
    """
    parts: dict[str, Iterable[int]] = {
        "train": environment.train_users,
        "test": environment.test_users,
        "all": [*environment.train_users, *environment.test_users],
    }
    users = [int(user) for user in parts[config.users]]
    if not users:
        hint = "build the environment with another --test-share, or set users"
        raise ConfigError(f"the environment has no {config.users} users", hint=hint)
    order = chance(config.seed, 0, 0, 0, "visitors").shuffled(users)
    return [
        (order[visit % len(order)], visit // len(order) * config.sessions)
        for visit in range(config.episodes)
    ]


def _arrivals(config: RunConfig, environment: Environment) -> Arrivals:
    return arrivals(
        config.arrivals,
        visitors(config, environment),
        delay=_delay(config),
        stream=chance(config.seed, 0, 0, 0, "arrivals"),
    )


def _delay(config: RunConfig) -> int:
    return round(config.publication_delay * _SECOND)


def _users(config: RunConfig, environment: Environment) -> Users:
    return Users(
        environment=environment,
        quitting=config.quit,
        limit=config.limit,
        history=config.history,
        least_dwell=round(config.dwell[0] * _SECOND),
        most_dwell=round(config.dwell[1] * _SECOND),
    )


def _returns(config: RunConfig) -> Returns:
    if config.sessions == 1:
        return ONCE
    least, mean = (round(seconds * _SECOND) for seconds in config.return_gap)
    return Returns(sessions=config.sessions, least=least, mean=mean)
