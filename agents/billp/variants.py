"""BiLLP: planner, actor, critic and reflector together, whole or with a part taken away."""

from dataclasses import replace
from functools import partial

from agents.billp.actor import PLAIN as ACTION_IN_WORDS
from agents.billp.actor import STRUCTURED as ACTION_AS_JSON
from agents.billp.actor import Actor, task
from agents.billp.critic import PLAIN as VALUE_IN_WORDS
from agents.billp.critic import STRUCTURED as VALUE_AS_JSON
from agents.billp.critic import Critic
from agents.billp.grounding import Grounder
from agents.billp.judging import MonteCarlo
from agents.billp.memories import EXPERIENCES, REFLECTIONS, VALUATIONS
from agents.billp.planner import Planner
from agents.billp.reflector import Reflector
from agents.billp.taste import Taster
from agents.billp.tools import CandidateSearch
from agents.billp.values import Judge, judged_steps, returned_steps
from agents.making import Agent, Role, Subscriptions, World
from agents.settings import BillpSettings, PaperSettings
from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    EpisodeEnded,
    EpisodeSettled,
    EpisodeStarted,
    PlanMade,
    PlanRequested,
    ReflectionWritten,
    StateValued,
    UserResponded,
)


def planner(
    world: World[BillpSettings], *, recalling: bool = True, random: bool = False
) -> Planner:
    """Return the planner; not *recalling* it has no reflections, *random* ones as in Reflexion."""
    own = world.settings.planner
    taster = Taster(world.catalog, world.ratings) if own.taste else None
    return Planner(
        world.catalog,
        own.recall_count if recalling else 0,
        own.within,
        own.prompt_tokens,
        random,
        taster,
    )


def actor(
    world: World[BillpSettings],
    *,
    recalling: bool = True,
    judge: Judge = judged_steps,
    tools: bool = True,
    thinking: bool = True,
) -> Actor:
    """Return the actor; not *recalling* it has no experiences, not *thinking* no planner."""
    own = world.settings.actor
    taster = Taster(world.catalog, world.ratings) if own.taste and tools else None
    return Actor(
        world.catalog,
        CandidateSearch(world.catalog),
        Grounder(world.catalog),
        own,
        task(
            thinking=thinking,
            tools=tools,
            recalling=recalling,
            taste=taster is not None,
            surprises=taster is not None and recalling and own.surprises,
        ),
        repeats=world.repeats,
        judge=judge,
        grammar=ACTION_AS_JSON if world.structured else ACTION_IN_WORDS,
        recalling=recalling,
        tools=tools,
        taster=taster,
    )


def reflector(world: World[BillpSettings]) -> Reflector:
    """Return the reflector."""
    return Reflector(world.catalog, world.settings.reflector.prompt_tokens)


def by_critic(world: World[BillpSettings]) -> Judge:
    """Return the advantages that the critic's values make."""
    own = world.settings.critic
    return partial(
        judged_steps,
        discount=own.discount,
        with_reward=own.reward_in_advantage,
        left=own.left,
    )


def critic(world: World[BillpSettings]) -> Critic:
    """Return the critic."""
    own = world.settings.critic
    grammar = VALUE_AS_JSON if world.structured else VALUE_IN_WORDS
    return Critic(world.catalog, by_critic(world), own, grammar)


def billp(world: World[BillpSettings]) -> Subscriptions:
    """Return all four agents, with all they learn."""
    return [
        *_main_line(planner(world), actor(world)),
        *_judging(critic(world)),
        *_macro(world),
        *_settling(critic(world)),
        *_learning(actor(world, judge=by_critic(world))),
    ]


def no_macro(world: World[BillpSettings]) -> Subscriptions:
    """Return BiLLP that learns within episodes only: no reflector, no reflections."""
    return [
        *_main_line(planner(world, recalling=False), actor(world)),
        *_judging(critic(world)),
        *_settling(critic(world)),
        *_learning(actor(world, judge=by_critic(world))),
    ]


def no_micro(world: World[BillpSettings]) -> Subscriptions:
    """Return BiLLP that learns across episodes only: no critic, no experiences."""
    return [
        *_main_line(planner(world), actor(world, recalling=False)),
        *_macro(world),
    ]


def no_critic(world: World[BillpSettings]) -> Subscriptions:
    """Return BiLLP whose advantages are Monte-Carlo returns."""
    judge: Judge = partial(returned_steps, discount=world.settings.critic.discount)
    return [
        *_main_line(planner(world), actor(world)),
        *_macro(world),
        (EpisodeSettled, MonteCarlo(judge).settle),
        *_learning(actor(world, judge=judge)),
    ]


def no_tools(world: World[BillpSettings]) -> Subscriptions:
    """Return BiLLP whose actor has no help from the catalog."""
    return [
        *_main_line(planner(world), actor(world, tools=False)),
        *_judging(critic(world)),
        *_macro(world),
        *_settling(critic(world)),
        *_learning(actor(world, judge=by_critic(world))),
    ]


def _main_line(thinking: Planner, acting: Actor) -> Subscriptions:
    if thinking.taster is not None and acting.taster is not None:
        # What one of them has inferred the other need not.
        acting = replace(acting, taster=thinking.taster)
    return [(PlanRequested, thinking.plan), (PlanMade, acting.act)]


def _judging(judging: Critic) -> Subscriptions:
    return [(EpisodeStarted, judging.judge_start), (UserResponded, judging.judge)]


def _macro(world: World[BillpSettings]) -> Subscriptions:
    return [
        (EpisodeEnded, reflector(world).reflect),
        (EpisodeSettled, planner(world).remember),
    ]


def _settling(judging: Critic) -> Subscriptions:
    return [(EpisodeSettled, judging.settle)]


def _learning(acting: Actor) -> Subscriptions:
    return [(EpisodeSettled, acting.remember)]


PLANNER = Role("planner", publishes=(PlanMade,))
ACTOR = Role("actor", publishes=(ActionTaken,))
CRITIC = Role(
    "critic",
    "state",
    (StateValued, AdvantageEstimated),
    frozenset({"Critic.judge_start", "Critic.judge"}),
)
REFLECTOR = Role("reflector", "episode", (ReflectionWritten,))

_ALL = (PLANNER, ACTOR, CRITIC, REFLECTOR)
_MICRO = (EXPERIENCES, VALUATIONS)

BILLP = Agent(billp, BillpSettings, _ALL, (REFLECTIONS, *_MICRO))
PAPER = Agent(billp, PaperSettings, _ALL, (REFLECTIONS, *_MICRO))
NO_MACRO = Agent(no_macro, BillpSettings, (PLANNER, ACTOR, CRITIC), _MICRO)
NO_MICRO = Agent(no_micro, BillpSettings, (PLANNER, ACTOR, REFLECTOR), (REFLECTIONS,))
NO_CRITIC = Agent(no_critic, BillpSettings, (PLANNER, ACTOR, REFLECTOR), (REFLECTIONS, EXPERIENCES))
NO_TOOLS = Agent(no_tools, BillpSettings, _ALL, (REFLECTIONS, *_MICRO))
