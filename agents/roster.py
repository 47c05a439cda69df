"""Every agent by name. One of ours is a file of its own and a line here."""

from collections.abc import Mapping

from agents.making import Agent
from storage.parts import Parts

AGENTS: Parts[Agent] = Parts(
    "agent",
    "billp.agents",
    Agent,
    {
        "billp": "agents.billp.variants:BILLP",
        "billp:paper": "agents.billp.variants:PAPER",
        "billp:no-macro": "agents.billp.variants:NO_MACRO",
        "billp:no-micro": "agents.billp.variants:NO_MICRO",
        "billp:no-critic": "agents.billp.variants:NO_CRITIC",
        "billp:no-tools": "agents.billp.variants:NO_TOOLS",
        "act-only": "agents.billp.rivals:ACT_ONLY",
        "react": "agents.billp.rivals:REACT",
        "reflexion": "agents.billp.rivals:REFLEXION",
        "random": "agents.policies.simple:RANDOM",
        "popular": "agents.policies.simple:POPULAR",
        "greedy": "agents.policies.predictions:GREEDY",
        "linucb": "agents.policies.linucb:LINUCB",
        "best-sequence": "agents.policies.best_sequence:BEST_SEQUENCE",
        "diverse-greedy": "agents.policies.simple:DIVERSE_GREEDY",
        "rl": "agents.policies.learned.learned:LEARNED",
    },
)


def parted(agent: str) -> tuple[str, str]:
    """Return the name of an agent and the path of its file, of `NAME:PATH`; else empty is the path.

    A name that is known, and a place in a module, is never taken for a path.
    """
    name, _, path = agent.partition(":")
    if path and name in AGENTS and AGENTS.is_place(agent) and AGENTS.named(name).file is not None:
        return name, path
    return agent, ""


def agent_of(name: str) -> Agent:
    """Return the agent called *name*, which may have the path of its file behind it."""
    return AGENTS.named(parted(name)[0])


def spelled_out(agent: str) -> tuple[str, Mapping[str, Mapping[str, str]]]:
    """Return the name of an agent, and the settings that the path of its file stands for."""
    name, path = parted(agent)
    file = AGENTS.named(name).file if path else None
    return (name, file.at(path)) if file else (name, {})
