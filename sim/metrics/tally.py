"""The episodes of a set as counts: all that metrics are made of."""

from collections import Counter
from dataclasses import dataclass, field
from math import fsum

from engine.messages import ActionTaken, EpisodeEnded, UserResponded
from sim.metrics.bands import Bands
from sim.metrics.diversity import Unlikeness
from storage.catalog import Catalog


@dataclass(eq=False)
class EpisodeTally:
    """An episode as it is told; the reward of a step is None until it is known."""

    user: int = -1
    items: list[int] = field(default_factory=list)
    rewards: list[float | None] = field(default_factory=list)
    groundings: list[str] = field(default_factory=list)
    why: str = ""
    left: bool = False
    failed: bool = False
    again: int = 0

    def act(self, action: ActionTaken) -> None:
        """Take a recommendation."""
        self.items.append(action.item)
        self.rewards.append(None)
        self.groundings.append(action.grounding)

    def respond(self, response: UserResponded) -> None:
        """Take the user's response to the last recommendation."""
        self.rewards[-1] = response.reward
        self.why = response.reason or ""

    def end(self, ended: EpisodeEnded) -> None:
        """Take note that the user left or stayed to the limit."""
        self.left = ended.reason == "quit"
        if not self.left:
            self.why = "limit"


@dataclass(eq=False)
class Tally:
    """The episodes of a set, counted as they come."""

    failed: int = 0
    steps: int = 0
    rewarded: int = 0
    repeats: int = 0
    unreadable: int = 0
    users: set[int] = field(default_factory=set)
    rewards: list[float] = field(default_factory=list)
    total: float = 0.0  # of the rewards so far, for who looks often; results are exact sums
    coverages: list[float] = field(default_factory=list)
    unlikenesses: list[float] = field(default_factory=list)
    items: Counter[int] = field(default_factory=Counter)
    quits: Counter[str] = field(default_factory=Counter)
    groundings: Counter[str] = field(default_factory=Counter)
    bands: Bands = field(default_factory=Bands)

    def add(self, visit: EpisodeTally, catalog: Catalog, unlike: Unlikeness) -> None:
        """Count an episode that did not fail."""
        items = visit.items
        known = [reward for reward in visit.rewards if reward is not None]
        met = {name for item in items for name in catalog.categories[item]}
        self.steps += len(items)
        self.rewarded += len(known)
        self.repeats += len(items) - len(set(items))
        self.unreadable += visit.again
        self.users.add(visit.user)
        self.rewards.append(fsum(known))
        self.total += self.rewards[-1]
        self.coverages.append(len(met) / max(1, len(catalog.category_names)))
        if len(items) > 1:
            self.unlikenesses.append(unlike(items))
        self.items.update(items)
        self.quits[visit.why or "unknown"] += 1
        self.groundings.update(visit.groundings)
        self.bands.add(visit.rewards, left=visit.left)
