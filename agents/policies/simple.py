"""Policies without a model: what BiLLP is compared with."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from agents.making import Agent, Oracle, Subscriptions, World
from agents.settings import BillpSettings
from agents.trajectory import Delivery, Trajectory
from engine.chance import Stream
from engine.messages import ActionTaken, PlanRequested
from storage.catalog import Catalog


class Choice(Protocol):
    """How a policy chooses an item."""

    def choose(self, trajectory: Trajectory, shown: Collection[int], stream: Stream) -> int:
        """Return an item that is not among *shown*."""
        ...


@dataclass(frozen=True)
class Policy:
    """Recommends what a choice says; *no_repeats* keeps items from coming again."""

    catalog: Catalog
    choice: Choice
    no_repeats: bool = True

    async def act(self, delivery: Delivery[PlanRequested]) -> None:
        """Answer `PlanRequested` with `ActionTaken`."""
        trajectory = delivery.trajectory
        shown = {step.item for step in trajectory.steps()} if self.no_repeats else set()
        stream = delivery.chance("policy", trajectory.step)
        publish_choice(delivery, self.choice.choose(trajectory, shown, stream), self.catalog)


def publish_choice(delivery: Delivery[PlanRequested], item: int, catalog: Catalog) -> None:
    """Publish that *item* is taken, without a word."""
    title = catalog.titles[item]
    delivery.publish(
        ActionTaken(
            step=delivery.message.step,
            item=item,
            title=title,
            words=title,
            grounding="policy",
            distance=0.0,
        )
    )


@dataclass(frozen=True)
class Random:
    """Any item, each as likely as any other."""

    catalog: Catalog

    def choose(self, trajectory: Trajectory, shown: Collection[int], stream: Stream) -> int:
        """Return a random item."""
        while (item := stream.integer(len(self.catalog))) in shown:
            pass
        return item


@dataclass(frozen=True)
class Popular:
    """The most popular item that was not shown; knows nothing about the user."""

    catalog: Catalog

    def choose(self, trajectory: Trajectory, shown: Collection[int], stream: Stream) -> int:
        """Return the most popular item left."""
        first: list[int] = self.catalog.by_popularity[: len(shown) + 1].tolist()
        return next(item for item in first if item not in shown)


@dataclass(frozen=True)
class DiverseGreedy:
    """The item of the highest true reward that does not make the user leave at once: the bound.

    A beam search over true rewards beats it by a few per cent at most.
    """

    catalog: Catalog
    oracle: Oracle

    def choose(self, trajectory: Trajectory, shown: Collection[int], stream: Stream) -> int:
        """Return the best item that does not bore, or the best."""
        rewards = self.oracle.rewards(trajectory)
        order: list[int] = np.argsort(-rewards, kind="stable").tolist()
        open_to = [item for item in order if item not in shown]
        liked = (item for item in open_to if not self.oracle.bores(trajectory, item))
        return next(liked, open_to[0])


def following(choice_of: Callable[[World[BillpSettings]], Choice]) -> Agent:
    """Return the agent that takes what a choice says."""

    def make(world: World[BillpSettings]) -> Subscriptions:
        return [(PlanRequested, Policy(world.catalog, choice_of(world), world.no_repeats).act)]

    return Agent(make, BillpSettings)


RANDOM = following(lambda world: Random(world.catalog))
POPULAR = following(lambda world: Popular(world.catalog))
DIVERSE_GREEDY = following(lambda world: DiverseGreedy(world.catalog, world.oracle))
