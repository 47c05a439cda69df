"""Agents with a model that BiLLP is compared with, on the same tools and the same model.

ActOnly acts; ReAct (arXiv 2210.03629) thinks before it acts; Reflexion (arXiv 2303.11366) also
writes reflections and recalls some of them, whoever they were about, as arXiv 2403.00843 ran it.
"""

from agents.billp.memories import REFLECTIONS
from agents.billp.variants import ACTOR, PLANNER, REFLECTOR, actor, planner, reflector
from agents.making import Agent, Subscriptions, World
from agents.settings import BillpSettings
from engine.messages import EpisodeEnded, EpisodeSettled, PlanMade, PlanRequested


def act_only(world: World[BillpSettings]) -> Subscriptions:
    """Return the agent that takes an item without a thought."""
    return [(PlanRequested, actor(world, recalling=False, thinking=False).act)]


def react(world: World[BillpSettings]) -> Subscriptions:
    """Return the agent that thinks, then acts, and learns nothing."""
    return [
        (PlanRequested, planner(world, recalling=False).plan),
        (PlanMade, actor(world, recalling=False).act),
    ]


def reflexion(world: World[BillpSettings]) -> Subscriptions:
    """Return ReAct with a reflector, and reflections drawn at random."""
    thinking = planner(world, random=True)
    return [
        (PlanRequested, thinking.plan),
        (PlanMade, actor(world, recalling=False).act),
        (EpisodeEnded, reflector(world).reflect),
        (EpisodeSettled, thinking.remember),
    ]


ACT_ONLY = Agent(act_only, BillpSettings, (ACTOR,))
REACT = Agent(react, BillpSettings, (PLANNER, ACTOR))
REFLEXION = Agent(reflexion, BillpSettings, (PLANNER, ACTOR, REFLECTOR), (REFLECTIONS,))
