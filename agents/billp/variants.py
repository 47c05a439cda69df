"""BiLLP: planner, actor, critic and reflector together, whole or with a part taken away."""

from functools import partial

from agents.billp.actor import PLAIN as ACTION_IN_WORDS
from agents.billp.actor import STRUCTURED as ACTION_AS_JSON
from agents.billp.actor import Actor, task
from agents.billp.critic import PLAIN as VALUE_IN_WORDS
from agents.billp.critic import STRUCTURED as VALUE_AS_JSON
from agents.billp.critic import Critic
from agents.billp.grounding import Grounder
from agents.billp.judging import MonteCarlo
from agents.billp.planner import PLAIN as THOUGHT_IN_WORDS
from agents.billp.planner import STRUCTURED as THOUGHT_AS_JSON
from agents.billp.planner import Planner
from agents.billp.reflector import PLAIN as REFLECTION_IN_WORDS
from agents.billp.reflector import STRUCTURED as REFLECTION_AS_JSON
from agents.billp.reflector import Reflector
from agents.billp.tools import CandidateSearch
from agents.billp.values import Judge, judged_steps, returned_steps
from agents.making import Subscriptions, World
from engine.messages import (
    EpisodeEnded,
    EpisodeSettled,
    EpisodeStarted,
    PlanMade,
    PlanRequested,
    UserResponded,
)


def planner(world: World, *, recalling: bool = True, random: bool = False) -> Planner:
    """Return the planner; not *recalling* it has no reflections, *random* ones as in Reflexion."""
    own = world.settings.planner
    return Planner(
        world.catalog,
        own.recall_count if recalling else 0,
        own.within,
        own.prompt_tokens,
        THOUGHT_AS_JSON if world.settings.structured else THOUGHT_IN_WORDS,
        random,
    )


def actor(
    world: World,
    *,
    recalling: bool = True,
    judge: Judge = judged_steps,
    tools: bool = True,
    thinking: bool = True,
) -> Actor:
    """Return the actor; not *recalling* it has no experiences, not *thinking* no planner."""
    settings = world.settings
    return Actor(
        world.catalog,
        CandidateSearch(world.catalog),
        Grounder(world.catalog),
        settings.repeats,
        settings.actor.recall_count if recalling else 0,
        settings.actor.within,
        settings.actor.candidates,
        judge,
        ACTION_AS_JSON if settings.structured else ACTION_IN_WORDS,
        tools,
        task(thinking=thinking, tools=tools, recalling=recalling),
    )


def reflector(world: World) -> Reflector:
    """Return the reflector."""
    settings = world.settings
    grammar = REFLECTION_AS_JSON if settings.structured else REFLECTION_IN_WORDS
    return Reflector(world.catalog, settings.reflector.prompt_tokens, grammar)


def by_critic(world: World) -> Judge:
    """Return the advantages that the critic's values make."""
    own = world.settings.critic
    return partial(judged_steps, discount=own.discount, with_reward=own.reward_in_advantage)


def critic(world: World) -> Critic:
    """Return the critic."""
    settings = world.settings
    return Critic(
        world.catalog,
        by_critic(world),
        settings.critic.recall_count,
        settings.critic.within,
        VALUE_AS_JSON if settings.structured else VALUE_IN_WORDS,
    )


def billp(world: World) -> Subscriptions:
    """Return all four agents, with all they learn."""
    return [
        *_main_line(planner(world), actor(world)),
        *_judging(critic(world)),
        *_macro(world),
        *_settling(critic(world)),
        *_micro(actor(world, judge=by_critic(world))),
    ]


def no_macro(world: World) -> Subscriptions:
    """Return BiLLP that learns within episodes only: no reflector, no reflections."""
    return [
        *_main_line(planner(world, recalling=False), actor(world)),
        *_judging(critic(world)),
        *_settling(critic(world)),
        *_micro(actor(world, judge=by_critic(world))),
    ]


def no_micro(world: World) -> Subscriptions:
    """Return BiLLP that learns across episodes only: no critic, no experiences."""
    return [
        *_main_line(planner(world), actor(world, recalling=False)),
        *_macro(world),
    ]


def no_critic(world: World) -> Subscriptions:
    """Return BiLLP whose advantages are Monte-Carlo returns."""
    judge: Judge = partial(returned_steps, discount=world.settings.critic.discount)
    return [
        *_main_line(planner(world), actor(world)),
        *_macro(world),
        (EpisodeSettled, MonteCarlo(judge).settle),
        *_micro(actor(world, judge=judge)),
    ]


def no_tools(world: World) -> Subscriptions:
    """Return BiLLP whose actor has no help from the catalog."""
    return [
        *_main_line(planner(world), actor(world, tools=False)),
        *_judging(critic(world)),
        *_macro(world),
        *_settling(critic(world)),
        *_micro(actor(world, judge=by_critic(world))),
    ]


def _main_line(thinking: Planner, acting: Actor) -> Subscriptions:
    return [(PlanRequested, thinking.plan), (PlanMade, acting.act)]


def _judging(judging: Critic) -> Subscriptions:
    return [(EpisodeStarted, judging.judge_start), (UserResponded, judging.judge)]


def _macro(world: World) -> Subscriptions:
    return [
        (EpisodeEnded, reflector(world).reflect),
        (EpisodeSettled, planner(world).remember),
    ]


def _settling(judging: Critic) -> Subscriptions:
    return [(EpisodeSettled, judging.settle)]


def _micro(acting: Actor) -> Subscriptions:
    return [(EpisodeSettled, acting.remember)]
