"""Every agent by name. A new one is a file of its own and a line here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import TypeAlias

from agents import actor as acting
from agents import critic as judging
from agents import planner as planning
from agents import reflector as reflecting
from agents.actor import Actor
from agents.baselines import DiverseGreedy, Oracle, Policy, Popular, Random
from agents.critic import Critic
from agents.grounding import Grounder
from agents.planner import Planner
from agents.reflector import Reflector
from agents.settings import AgentSettings
from agents.tools import CandidateSearch
from agents.trajectory import Trajectory
from engine.episode import Handler
from engine.errors import ConfigError
from engine.messages import (
    EpisodeEnded,
    EpisodeSettled,
    EpisodeStarted,
    PlanMade,
    PlanRequested,
    UserResponded,
)
from storage.catalog import Catalog

Subscriptions: TypeAlias = Sequence[tuple[type | UnionType, Handler[Trajectory]]]
"""Message types with the handlers that hear them, in order of subscription."""


@dataclass(frozen=True)
class Setting:
    """What agents are made from; *window* is the quit rule's, for the bound alone."""

    catalog: Catalog
    settings: AgentSettings
    oracle: Oracle
    window: int


Agent: TypeAlias = Callable[[Setting], Subscriptions]


def billp(setting: Setting) -> Subscriptions:
    """Return the agents of BiLLP: planner and reflector, actor and critic."""
    catalog, settings = setting.catalog, setting.settings
    json = settings.structured
    planner = Planner(
        catalog,
        settings.planner.recall_count,
        settings.planner.within,
        settings.planner.prompt_tokens,
        planning.STRUCTURED if json else planning.PLAIN,
    )
    actor = Actor(
        catalog,
        CandidateSearch(catalog),
        Grounder(catalog),
        settings.repeats,
        settings.actor.recall_count,
        settings.actor.within,
        settings.actor.candidates,
        settings.critic.discount,
        settings.critic.reward_in_advantage,
        acting.STRUCTURED if json else acting.PLAIN,
    )
    critic = Critic(
        catalog,
        settings.critic.discount,
        settings.critic.recall_count,
        settings.critic.within,
        settings.critic.reward_in_advantage,
        judging.STRUCTURED if json else judging.PLAIN,
    )
    reflector = Reflector(
        catalog,
        settings.reflector.prompt_tokens,
        reflecting.STRUCTURED if json else reflecting.PLAIN,
    )
    return [
        (PlanRequested, planner.plan),
        (PlanMade, actor.act),
        (EpisodeStarted, critic.judge_start),
        (UserResponded, critic.judge),
        (EpisodeEnded, reflector.reflect),
        (EpisodeSettled, planner.remember),
        (EpisodeSettled, critic.settle),
        (EpisodeSettled, actor.remember),
    ]


def random(setting: Setting) -> Subscriptions:
    """Return the policy that takes any item, each as likely as any other."""
    policy = Policy(setting.catalog, Random(setting.catalog), setting.settings.no_repeats)
    return [(PlanRequested, policy.act)]


def popular(setting: Setting) -> Subscriptions:
    """Return the policy that takes the most popular items, one after the other."""
    policy = Policy(setting.catalog, Popular(setting.catalog), setting.settings.no_repeats)
    return [(PlanRequested, policy.act)]


def diverse_greedy(setting: Setting) -> Subscriptions:
    """Return the bound: the best item by true reward outside the quit rule's window."""
    choice = DiverseGreedy(setting.catalog, setting.oracle, setting.window)
    policy = Policy(setting.catalog, choice, setting.settings.no_repeats)
    return [(PlanRequested, policy.act)]


AGENTS: dict[str, Agent] = {
    "billp": billp,
    "random": random,
    "popular": popular,
    "diverse-greedy": diverse_greedy,
}


def agent_named(name: str) -> Agent:
    """Return the agent called *name*; a ConfigError names the nearest if there is none."""
    if name not in AGENTS:
        near = get_close_matches(name, AGENTS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(AGENTS)}"
        raise ConfigError(f"there is no agent {name!r}", hint=hint)
    return AGENTS[name]
