"""BiLLP: planner, actor, critic and reflector together, whole or with a part taken away."""

from functools import partial

from agents.actor import PLAIN as ACTION_IN_WORDS
from agents.actor import STRUCTURED as ACTION_AS_JSON
from agents.actor import Actor, task
from agents.critic import PLAIN as VALUE_IN_WORDS
from agents.critic import STRUCTURED as VALUE_AS_JSON
from agents.critic import Critic
from agents.grounding import Grounder
from agents.judging import MonteCarlo
from agents.planner import PLAIN as THOUGHT_IN_WORDS
from agents.planner import STRUCTURED as THOUGHT_AS_JSON
from agents.planner import Planner
from agents.reflector import PLAIN as REFLECTION_IN_WORDS
from agents.reflector import STRUCTURED as REFLECTION_AS_JSON
from agents.reflector import Reflector
from agents.setting import Setting, Subscriptions
from agents.tools import CandidateSearch
from agents.values import Judge, judged_steps, returned_steps
from engine.messages import (
    EpisodeEnded,
    EpisodeSettled,
    EpisodeStarted,
    PlanMade,
    PlanRequested,
    UserResponded,
)


def planner(setting: Setting, *, recalling: bool = True, random: bool = False) -> Planner:
    """Return the planner; not *recalling* it has no reflections, *random* ones as in Reflexion."""
    own = setting.settings.planner
    return Planner(
        setting.catalog,
        own.recall_count if recalling else 0,
        own.within,
        own.prompt_tokens,
        THOUGHT_AS_JSON if setting.settings.structured else THOUGHT_IN_WORDS,
        random,
    )


def actor(
    setting: Setting,
    *,
    recalling: bool = True,
    judge: Judge = judged_steps,
    tools: bool = True,
    thinking: bool = True,
) -> Actor:
    """Return the actor; not *recalling* it has no experiences, not *thinking* no planner."""
    settings = setting.settings
    return Actor(
        setting.catalog,
        CandidateSearch(setting.catalog),
        Grounder(setting.catalog),
        settings.repeats,
        settings.actor.recall_count if recalling else 0,
        settings.actor.within,
        settings.actor.candidates,
        judge,
        ACTION_AS_JSON if settings.structured else ACTION_IN_WORDS,
        tools,
        task(thinking=thinking, tools=tools, recalling=recalling),
    )


def reflector(setting: Setting) -> Reflector:
    """Return the reflector."""
    settings = setting.settings
    grammar = REFLECTION_AS_JSON if settings.structured else REFLECTION_IN_WORDS
    return Reflector(setting.catalog, settings.reflector.prompt_tokens, grammar)


def by_critic(setting: Setting) -> Judge:
    """Return the advantages that the critic's values make."""
    own = setting.settings.critic
    return partial(judged_steps, discount=own.discount, with_reward=own.reward_in_advantage)


def critic(setting: Setting) -> Critic:
    """Return the critic."""
    settings = setting.settings
    return Critic(
        setting.catalog,
        by_critic(setting),
        settings.critic.recall_count,
        settings.critic.within,
        VALUE_AS_JSON if settings.structured else VALUE_IN_WORDS,
    )


def billp(setting: Setting) -> Subscriptions:
    """Return all four agents, with all they learn."""
    return [
        *_main_line(planner(setting), actor(setting)),
        *_judging(critic(setting)),
        *_macro(setting),
        *_settling(critic(setting)),
        *_micro(actor(setting, judge=by_critic(setting))),
    ]


def no_macro(setting: Setting) -> Subscriptions:
    """Return BiLLP that learns within episodes only: no reflector, no reflections."""
    return [
        *_main_line(planner(setting, recalling=False), actor(setting)),
        *_judging(critic(setting)),
        *_settling(critic(setting)),
        *_micro(actor(setting, judge=by_critic(setting))),
    ]


def no_micro(setting: Setting) -> Subscriptions:
    """Return BiLLP that learns across episodes only: no critic, no experiences."""
    return [
        *_main_line(planner(setting), actor(setting, recalling=False)),
        *_macro(setting),
    ]


def no_critic(setting: Setting) -> Subscriptions:
    """Return BiLLP whose advantages are Monte-Carlo returns."""
    judge: Judge = partial(returned_steps, discount=setting.settings.critic.discount)
    return [
        *_main_line(planner(setting), actor(setting)),
        *_macro(setting),
        (EpisodeSettled, MonteCarlo(judge).settle),
        *_micro(actor(setting, judge=judge)),
    ]


def no_tools(setting: Setting) -> Subscriptions:
    """Return BiLLP whose actor has no help from the catalog."""
    return [
        *_main_line(planner(setting), actor(setting, tools=False)),
        *_judging(critic(setting)),
        *_macro(setting),
        *_settling(critic(setting)),
        *_micro(actor(setting, judge=by_critic(setting))),
    ]


def _main_line(thinking: Planner, acting: Actor) -> Subscriptions:
    return [(PlanRequested, thinking.plan), (PlanMade, acting.act)]


def _judging(judging: Critic) -> Subscriptions:
    return [(EpisodeStarted, judging.judge_start), (UserResponded, judging.judge)]


def _macro(setting: Setting) -> Subscriptions:
    return [
        (EpisodeEnded, reflector(setting).reflect),
        (EpisodeSettled, planner(setting).remember),
    ]


def _settling(judging: Critic) -> Subscriptions:
    return [(EpisodeSettled, judging.settle)]


def _micro(acting: Actor) -> Subscriptions:
    return [(EpisodeSettled, acting.remember)]
