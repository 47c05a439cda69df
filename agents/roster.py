"""Every agent by name. One of ours is a file of its own and a line here."""

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
    },
)
