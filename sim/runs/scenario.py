"""What is run: a course in an environment, in the company of what is given in Python."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypedDict

from agents.models.model import ChatModel
from agents.models.providers import Door
from engine.errors import ConfigError
from sim.config.run import RunConfig
from sim.config.stages import Course
from sim.runs.listeners import Listener, Listeners, listeners_of
from sim.runs.models import doors_of
from sim.runs.visitors import check_visitors
from sim.runs.watching import Onlooker, awaiting
from sim.runs.workers.cluster import check_ray
from storage.environments import Environment
from storage.runs import Kept


class Given(TypedDict, total=False):
    """*environment* and *model* are made from the configuration unless they are given.

    *listeners* and followers of the user's own are given by name; *views* show the run while it
    runs.
    """

    environment: Environment | None
    model: ChatModel | None
    listeners: Mapping[str, Listener] | Listeners
    views: Sequence[Onlooker]


@dataclass(frozen=True)
class Company:
    """Who is with a run while it lives: a *model* in place of its own, listeners and views."""

    model: ChatModel | None
    listeners: Listeners
    views: Sequence[Onlooker]


@dataclass(frozen=True)
class Scenario:
    """A *course* in an *environment*, with those who are *beside*: all that a run is made of.

    What cannot be run is none: raises ConfigError.
    """

    course: Course
    environment: Environment
    beside: Company

    def __post_init__(self) -> None:
        check_runnable(self.config, self.environment)

    @property
    def config(self) -> RunConfig:
        """The configuration that holds in the end."""
        return self.course.config

    @property
    def name(self) -> str:
        """What a run of it is called that nobody gave a name."""
        return f"{self.environment.head.name}-{self.config.agent}"

    @property
    def kept(self) -> Kept:
        """What is kept of a run of it."""
        config = self.config
        return Kept(
            config.fsync,
            vectors=bool(config.embedding_model),
            prompts=config.prompts,
            batches=config.batched,
        )

    def doors(self) -> AbstractAsyncContextManager[Mapping[str, Door]]:
        """Open the doors to its models; raises ConfigError for what it needs and is not there."""
        check_ray(self.config.cluster)
        return doors_of(self.config, self.beside.model, awaiting(self.beside.views))


def scenario(course: Course, given: Given, environment: Environment | None = None) -> Scenario:
    """Return *course* in *environment*, else in the one that is given, or that it names.

    Raises ConfigError for what cannot be run there, DataError for what is no environment.
    """
    there = environment or given.get("environment") or course.environment
    listeners = listeners_of(given.get("listeners", {}))
    beside = Company(given.get("model"), listeners, given.get("views", ()))
    return Scenario(course, there, beside)


def check_runnable(config: RunConfig, environment: Environment) -> None:
    """Raise ConfigError if *config* cannot be run in *environment*."""
    check_visitors(config, environment)
    items = len(environment.catalog)
    if config.repeats != "allow" and config.limit > items:
        raise ConfigError(
            f"{config.limit} steps without repeats need as many items, there are {items}",
            hint=f"--set limit={items}, or --repeats allow",
        )
    missing = {role.name for role in config.cast.roles} - config.roles.keys()
    if missing:
        what = f"the agent {config.agent} has no settings for its role {min(missing)!r}"
        raise ConfigError(what, hint=f"a field {min(missing)}: RoleSettings = RoleSettings()")
