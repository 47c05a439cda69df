"""Policies without a model: what BiLLP is compared with."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from agents.making import Oracle
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
        order: list[int] = self.catalog.by_popularity.tolist()
        return next(item for item in order if item not in shown)


@dataclass(frozen=True)
class DiverseGreedy:
    """The item of the highest true reward outside the quit rule's *window*: the bound.

    A beam search over true rewards beats it by a few per cent at most.
    """

    catalog: Catalog
    oracle: Oracle
    window: int

    def choose(self, trajectory: Trajectory, shown: Collection[int], stream: Stream) -> int:
        """Return the best item that is not too much like the last ones."""
        rewards = self.oracle.rewards(trajectory.user)
        order: list[int] = np.argsort(-rewards, kind="stable").tolist()
        recent = np.array([s.item for s in trajectory.recent(self.window)], np.int64)
        open_to = (item for item in order if item not in shown)
        best = next(open_to)
        if not len(recent) or not self.oracle.near(best, recent).any():
            return best
        far = (item for item in open_to if not self.oracle.near(item, recent).any())
        return next(far, best)
