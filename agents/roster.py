"""Every agent by name. A new one is a file of its own and a line here."""

from difflib import get_close_matches

from agents.billp import rivals, variants
from agents.billp.memories import EXPERIENCES, REFLECTIONS, VALUATIONS
from agents.making import Agent, Subscriptions, World
from agents.policies.best_sequence import SEQUENCES, BestSequence
from agents.policies.linucb import TRIALS, LinUCB
from agents.policies.predictions import Greedy, Predictor
from agents.policies.simple import Choice, DiverseGreedy, Policy, Popular, Random
from engine.errors import ConfigError
from engine.messages import EpisodeSettled, PlanRequested


def any_item(world: World) -> Subscriptions:
    """Return the policy that takes any item, each as likely as any other."""
    return _policy(world, Random(world.catalog))


def popular(world: World) -> Subscriptions:
    """Return the policy that takes the most popular items, one after the other."""
    return _policy(world, Popular(world.catalog))


def greedy(world: World) -> Subscriptions:
    """Return the policy that takes the best item by predictions from training users."""
    return _policy(world, Greedy(Predictor(world.ratings)))


def diverse_greedy(world: World) -> Subscriptions:
    """Return the bound: the best item by true reward outside the quit rule's window."""
    return _policy(world, DiverseGreedy(world.catalog, world.oracle, world.window))


def _policy(world: World, choice: Choice) -> Subscriptions:
    policy = Policy(world.catalog, choice, world.settings.no_repeats)
    return [(PlanRequested, policy.act)]


def best_sequence(world: World) -> Subscriptions:
    """Return the baseline that replays the longest training episode to everybody."""
    agent = BestSequence(world.catalog)
    return [(PlanRequested, agent.act), (EpisodeSettled, agent.remember)]


def linucb(world: World) -> Subscriptions:
    """Return the linear bandit."""
    agent = LinUCB(world.catalog, Predictor(world.ratings), world.settings.no_repeats)
    return [(PlanRequested, agent.act), (EpisodeSettled, agent.remember)]


_MACRO, _MICRO = (REFLECTIONS,), (EXPERIENCES, VALUATIONS)

AGENTS: dict[str, Agent] = {
    "billp": Agent(variants.billp, (*_MACRO, *_MICRO)),
    "billp:no-macro": Agent(variants.no_macro, _MICRO),
    "billp:no-micro": Agent(variants.no_micro, _MACRO),
    "billp:no-critic": Agent(variants.no_critic, (*_MACRO, EXPERIENCES)),
    "billp:no-tools": Agent(variants.no_tools, (*_MACRO, *_MICRO)),
    "act-only": Agent(rivals.act_only),
    "react": Agent(rivals.react),
    "reflexion": Agent(rivals.reflexion, _MACRO),
    "random": Agent(any_item),
    "popular": Agent(popular),
    "greedy": Agent(greedy),
    "linucb": Agent(linucb, (TRIALS,)),
    "best-sequence": Agent(best_sequence, (SEQUENCES,)),
    "diverse-greedy": Agent(diverse_greedy),
}


def agent_named(name: str) -> Agent:
    """Return the agent called *name*; a ConfigError names the nearest if there is none."""
    if name not in AGENTS:
        near = get_close_matches(name, AGENTS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(AGENTS)}"
        raise ConfigError(f"there is no agent {name!r}", hint=hint)
    return AGENTS[name]
