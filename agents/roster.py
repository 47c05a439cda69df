"""Every agent by name. A new one is a file of its own and a line here."""

from difflib import get_close_matches

from agents import billp, rivals
from agents.baselines import Choice, DiverseGreedy, Policy, Popular, Random
from agents.best_sequence import SEQUENCES, BestSequence
from agents.linucb import TRIALS, LinUCB
from agents.memories import EXPERIENCES, REFLECTIONS, VALUATIONS
from agents.predictions import Greedy, Predictor
from agents.setting import Agent, Setting, Subscriptions
from engine.errors import ConfigError
from engine.messages import EpisodeSettled, PlanRequested


def random(setting: Setting) -> Subscriptions:
    """Return the policy that takes any item, each as likely as any other."""
    return _policy(setting, Random(setting.catalog))


def popular(setting: Setting) -> Subscriptions:
    """Return the policy that takes the most popular items, one after the other."""
    return _policy(setting, Popular(setting.catalog))


def greedy(setting: Setting) -> Subscriptions:
    """Return the policy that takes the best item by predictions from training users."""
    return _policy(setting, Greedy(Predictor(setting.ratings)))


def diverse_greedy(setting: Setting) -> Subscriptions:
    """Return the bound: the best item by true reward outside the quit rule's window."""
    return _policy(setting, DiverseGreedy(setting.catalog, setting.oracle, setting.window))


def _policy(setting: Setting, choice: Choice) -> Subscriptions:
    policy = Policy(setting.catalog, choice, setting.settings.no_repeats)
    return [(PlanRequested, policy.act)]


def best_sequence(setting: Setting) -> Subscriptions:
    """Return the baseline that replays the longest training episode to everybody."""
    agent = BestSequence(setting.catalog)
    return [(PlanRequested, agent.act), (EpisodeSettled, agent.remember)]


def linucb(setting: Setting) -> Subscriptions:
    """Return the linear bandit."""
    agent = LinUCB(setting.catalog, Predictor(setting.ratings), setting.settings.no_repeats)
    return [(PlanRequested, agent.act), (EpisodeSettled, agent.remember)]


_MACRO, _MICRO = (REFLECTIONS,), (EXPERIENCES, VALUATIONS)

AGENTS: dict[str, Agent] = {
    "billp": Agent(billp.billp, (*_MACRO, *_MICRO)),
    "billp:no-macro": Agent(billp.no_macro, _MICRO),
    "billp:no-micro": Agent(billp.no_micro, _MACRO),
    "billp:no-critic": Agent(billp.no_critic, (*_MACRO, EXPERIENCES)),
    "billp:no-tools": Agent(billp.no_tools, (*_MACRO, *_MICRO)),
    "act-only": Agent(rivals.act_only),
    "react": Agent(rivals.react),
    "reflexion": Agent(rivals.reflexion, _MACRO),
    "random": Agent(random),
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
