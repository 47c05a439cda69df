"""Agents with a model that BiLLP is compared with, on the same tools and the same model.

ActOnly acts; ReAct (arXiv 2210.03629) thinks before it acts; Reflexion (arXiv 2303.11366) also
writes reflections and recalls some of them, whoever they were about, as arXiv 2403.00843 ran it.
"""

from agents.billp import actor, planner, reflector
from agents.setting import Setting, Subscriptions
from engine.messages import EpisodeEnded, EpisodeSettled, PlanMade, PlanRequested


def act_only(setting: Setting) -> Subscriptions:
    """Return the agent that takes an item without a thought."""
    return [(PlanRequested, actor(setting, recalling=False, thinking=False).act)]


def react(setting: Setting) -> Subscriptions:
    """Return the agent that thinks, then acts, and learns nothing."""
    return [
        (PlanRequested, planner(setting, recalling=False).plan),
        (PlanMade, actor(setting, recalling=False).act),
    ]


def reflexion(setting: Setting) -> Subscriptions:
    """Return ReAct with a reflector, and reflections drawn at random."""
    thinking = planner(setting, random=True)
    return [
        (PlanRequested, thinking.plan),
        (PlanMade, actor(setting, recalling=False).act),
        (EpisodeEnded, reflector(setting).reflect),
        (EpisodeSettled, thinking.remember),
    ]
