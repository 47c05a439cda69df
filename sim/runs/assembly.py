"""A run put together: the world, the agents, the bus and the scheduler, from a configuration."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import UnionType
from typing import Any, TypeAlias

from agents.making import World
from agents.models.providers import plain_name
from agents.trajectory import Delivery, Trajectory, folding
from engine.arrivals import ONCE, Arrivals, Listed, Returns, Visit
from engine.attempt import name_of
from engine.bus import Bus
from engine.calls import Answer, Embed
from engine.delivery import Handler
from engine.messages import SCHEMA, ActionTaken, EpisodeStarted, RunEnded, RunStarted, UserResponded
from engine.records import Log
from engine.scheduler import Bounds, Scheduler
from sim.config.run import RunConfig
from sim.config.stages import Course, point_of
from sim.metrics.metrics import HEARD, MetricsFollower
from sim.runs.visitors import arrivals_of, delay_of, returns_of, users_of
from sim.world.users import Truth
from storage.datasets.ratings import training_ratings
from storage.environments import Environment
from storage.memory import Memory


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


@dataclass(frozen=True)
class Extent:
    """What of a run is played: who visits, from which number on, and the logs that are read.

    *seeds* gives the seed of the chance at a step for a purpose, where that is not the run's.
    """

    visits: Arrivals
    logs: Mapping[str, Log]
    returns: Returns = ONCE
    first: int = 0
    seeds: Callable[[int, str], int] | None = None


@dataclass(frozen=True)
class Excerpt:
    """One episode of a run: its visit, its number, and the logs as it saw them."""

    visit: Visit
    number: int
    logs: Mapping[str, Log]
    seeds: Callable[[int, str], int] | None = None

    def extent(self) -> Extent:
        """Return this episode, alone."""
        visits = Listed(deque([self.visit]))
        return Extent(visits, self.logs, first=self.number, seeds=self.seeds)


Subscription: TypeAlias = tuple[type | UnionType, Handler[Trajectory], str]
Wrap: TypeAlias = Callable[[Handler[Trajectory]], Handler[Trajectory]]


def assemble(
    course: Course,
    environment: Environment,
    *,
    answer: Answer,
    embed: Embed,
    seal: Callable[[], None] = lambda: None,
    concurrency: int | None = None,
    excerpt: Excerpt | None = None,
    wrap: Wrap | None = None,
    subscribed: Sequence[Subscription] | None = None,
) -> Assembly:
    """Return a run of *course* in *environment*, or an *excerpt* of one.

    *concurrency* takes the place of the configured one; *wrap* may put something around every
    handler, to watch it. Handlers that are *subscribed* take the place of the course's own. Raises
    ConfigError for what cannot be run.
    """
    config = course.config
    bus: Bus[Trajectory] = Bus()
    for types, handler, name in subscribed or subscriptions(course, environment, wrap):
        bus.subscribe(types, handler, name=name)
    metrics = MetricsFollower(environment.catalog, environment.factors, config.sessions)
    bus.follow(HEARD, metrics, essential=True)
    memories: dict[str, Memory[Any]] = {
        name.name: Memory(name, capacity=config.memory_size or None)
        for name in config.cast.memories
    }
    extent = _whole(config, environment, memories) if excerpt is None else excerpt.extent()
    scheduler: Scheduler[Trajectory] = Scheduler(
        bus=bus,
        arrivals=extent.visits,
        memories=extent.logs,
        answer=answer,
        embed=embed,
        fold=folding(environment.catalog),
        opening=users_of(config, environment).opening,
        seed=config.seed,
        delay=delay_of(config),
        first=extent.first,
        returns=extent.returns,
        bounds=Bounds(
            running=config.at_once if concurrency is None else config.running or 2 * concurrency,
            unreleased=config.unreleased,
            patience=config.longest_wait,
        ),
        seal=seal,
        seeds=extent.seeds,
    )
    return Assembly(bus, scheduler, memories, metrics, head(course, environment))


def _whole(config: RunConfig, environment: Environment, memories: Mapping[str, Log]) -> Extent:
    return Extent(arrivals_of(config, environment), memories, returns_of(config, environment.head))


def subscriptions(
    course: Course, environment: Environment, wrap: Wrap | None = None
) -> list[Subscription]:
    """Return all handlers with what they hear and what a trace calls them, in order."""
    stages = [_subscriptions(stage.config, environment) for stage in course.stages]
    return [_staged(course, same, wrap) for same in zip(*stages, strict=True)]


def _staged(
    course: Course,
    same: Sequence[tuple[type | UnionType, Handler[Trajectory]]],
    wrap: Wrap | None,
) -> Subscription:
    types, first = same[0]
    handlers = [handler if wrap is None else wrap(handler) for _, handler in same]
    one = handlers[0] if len(handlers) == 1 else staged(course, handlers)
    return types, one, name_of(first)


def staged(course: Course, handlers: Sequence[Handler[Trajectory]]) -> Handler[Trajectory]:
    """Return a handler that leaves each message to that of *handlers* whose stage it is."""

    async def handle(delivery: Delivery[Any]) -> None:
        stage = course.stage_at(point_of(delivery.number, delivery.message))
        await handlers[stage](delivery)

    return handle


def _subscriptions(
    config: RunConfig, environment: Environment
) -> list[tuple[type | UnionType, Handler[Trajectory]]]:
    users = users_of(config, environment)
    world = World(
        catalog=environment.catalog,
        settings=config.agent_settings,
        ratings=partial(training_ratings, environment),
        oracle=Truth(environment, config.rule, config.quit, config.rewards),
        repeats=config.repeats,
        structured=config.structured,
    )
    return [
        (EpisodeStarted, users.arrive),
        (ActionTaken, users.respond),
        (UserResponded, users.go_on),
        *config.cast.make(world),
    ]


def head(course: Course, environment: Environment) -> RunStarted:
    """Return the head of the trace: all that decides the run, and not the way to the model."""
    return head_in(course, environment.head.digest)


def head_in(course: Course, digest: str) -> RunStarted:
    """Return the head of the trace in an environment of that *digest*."""
    config = course.config
    return RunStarted(
        schema=SCHEMA,
        agent=config.agent,
        model=plain_name(config.model),
        environment=digest,
        seed=config.seed,
        settings=config.deciding(),
        forks=course.forks(),
    )
