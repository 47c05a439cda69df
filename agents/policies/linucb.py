"""LinUCB (arXiv 1003.0146): a linear bandit over what can be seen of a user and an item.

One ridge regression for all items, on six features; the pay-off of a step is its reward, or nothing
if the user left, so that it can learn what makes users leave. It learns across episodes by a memory
of its own, and within them from the steps so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.making import Agent, AgentMemory, Subscriptions, World
from agents.policies.predictions import Predictor, history
from agents.policies.simple import publish_choice
from agents.settings import BillpSettings
from agents.trajectory import Delivery, Trajectory, task_keys, task_lines
from engine.messages import EpisodeSettled, PlanRequested
from engine.records import View
from storage.catalog import Catalog
from storage.factors import significant_all

Floats = NDArray[np.float64]
WIDTH = 6
WINDOW = 4
_ALL = slice(None)


class Pull(msgspec.Struct, frozen=True, kw_only=True):
    """A step as LinUCB sees it: what it knew of the item, and what it got."""

    features: tuple[float, ...]
    payoff: float


def _says(record: Pull) -> str:
    return f"pay-off {record.payoff:g} of {', '.join(f'{x:g}' for x in record.features)}"


TRIALS = AgentMemory("trials", Pull, key_lines=task_keys, says=_says, keyed_by="a user's history")


class Bandit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """*alpha* deviations above the mean is what LinUCB hopes for."""

    alpha: Annotated[float, msgspec.Meta(ge=0)] = 1.0


class LinUCBSettings(BillpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all of ours have, and what the bandit has."""

    linucb: Bandit = Bandit()


@dataclass(frozen=True)
class Moments:
    """The sufficient statistics of trials: A = I + Σ x xᵀ, [6, 6], and b = Σ payoff · x, [6]."""

    a: Floats = field(default_factory=lambda: np.eye(WIDTH))
    b: Floats = field(default_factory=lambda: np.zeros(WIDTH))

    def with_trial(self, trial: Pull) -> "Moments":
        """Return the statistics after one trial more."""
        x = np.array(trial.features)
        return Moments(self.a + np.outer(x, x), self.b + trial.payoff * x)


@dataclass(frozen=True)
class LinUCB:
    """Takes the item of the highest upper confidence bound, *alpha* deviations above the mean."""

    catalog: Catalog
    predictor: Predictor
    no_repeats: bool = True
    alpha: float = 1.0
    # Of each length that a view may have: a log only grows, so these never change.
    _known: dict[int, Moments] = field(default_factory=lambda: {0: Moments()}, compare=False)

    async def act(self, delivery: Delivery[PlanRequested]) -> None:
        """Answer `PlanRequested` with `ActionTaken`."""
        trajectory = delivery.trajectory
        rewards = self.predictor.rewards(history(trajectory))
        moments = self._learned(delivery.view(TRIALS))
        for trial in self._trials(trajectory, rewards):
            moments = moments.with_trial(trial)
        features = self.features(rewards, [step.item for step in trajectory.recent(WINDOW)])
        bounds = significant_all(upper_bounds(features, moments, self.alpha))
        if self.no_repeats:
            bounds[[step.item for step in trajectory.steps()]] = -np.inf
        publish_choice(delivery, int(np.argmax(bounds)), self.catalog)

    async def remember(self, delivery: Delivery[EpisodeSettled]) -> None:
        """Keep every step as a trial."""
        trajectory = delivery.trajectory
        key = await delivery.embed(task_lines(trajectory))
        trials = self._trials(trajectory, self.predictor.rewards(history(trajectory)))
        delivery.remember(TRIALS, [(key, trial) for trial in trials])

    def features(
        self, rewards: Floats, recent: Sequence[int], items: slice | list[int] = _ALL
    ) -> Floats:
        """Return what is known of *items*, [items, 6], each feature about 0 to 1.

        1; the reward predicted from the user's history; popularity; the largest likeness of
        categories (as Jaccard) to one of the last items; the mean of it; whether there is none yet.
        """
        rewards = rewards[items]
        alike = [self._likeness(item, items) for item in recent] or [np.zeros(len(rewards))]
        columns = [
            np.ones(len(rewards)),
            rewards / 5,
            self._popularity[items],
            np.max(alike, axis=0),
            np.mean(alike, axis=0),
            np.full(len(rewards), float(not recent)),
        ]
        return significant_all(np.column_stack(columns))

    def _trials(self, trajectory: Trajectory, rewards: Floats) -> list[Pull]:
        """Return the steps so far, oldest first, each with what was known before it."""
        trials: list[Pull] = []
        recent: list[int] = []
        for step in reversed([*trajectory.steps()]):
            features = self.features(rewards, recent[-WINDOW:], [step.item])[0]
            payoff = 0.0 if step.left else step.reward
            trials.append(Pull(features=tuple(features.tolist()), payoff=payoff))
            recent.append(step.item)
        return trials

    def _learned(self, view: View[Pull]) -> Moments:
        if view.start:  # the oldest trials are forgotten: nothing known reaches from there
            return _added(Moments(), view, view.start)
        if len(view) not in self._known:
            start = max(length for length in self._known if length < len(view))
            self._known[len(view)] = _added(self._known[start], view, start)
        return self._known[len(view)]

    @cached_property
    def _popularity(self) -> Floats:
        logs = np.log1p(self.catalog.popularity.astype(np.float64))
        return np.asarray(logs / max(float(logs.max()), 1.0))

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.array([len(set(names)) for names in self.catalog.categories], np.int64)

    def _likeness(self, item: int, items: slice | list[int]) -> Floats:
        both = self._shared(item, items)
        either = self._sizes[items] + self._sizes[item] - both
        return np.asarray(both / np.maximum(either, 1))

    def _shared(self, item: int, items: slice | list[int]) -> NDArray[np.int64]:
        """Return how many categories each of *items* has in common with *item*."""
        own = set(self.catalog.categories[item])
        if isinstance(items, list):
            return np.array([len(own.intersection(self.catalog.categories[i])) for i in items])
        # By the members of its categories: a table of items × categories may not fit.
        shared = np.zeros(len(self.catalog), np.int64)
        for name in own:
            shared[self.catalog.members[name]] += 1
        return shared[items]


def _added(moments: Moments, view: View[Pull], start: int) -> Moments:
    """Return *moments* with the trials of *view* from *start* on."""
    for position in range(start, len(view)):
        moments = moments.with_trial(view[position].payload)
    return moments


def upper_bounds(features: Floats, moments: Moments, alpha: float) -> Floats:
    """Return θᵀx + α·√(xᵀA⁻¹x) of each row x of *features*, θ = A⁻¹b."""
    inverse = np.linalg.inv(moments.a)
    spread = np.einsum("ij,jk,ik->i", features, inverse, features)
    return np.asarray(features @ (inverse @ moments.b) + alpha * np.sqrt(np.maximum(spread, 0.0)))


def linucb(world: World[LinUCBSettings]) -> Subscriptions:
    """Return the linear bandit."""
    predictor, alpha = Predictor(world.ratings), world.settings.linucb.alpha
    agent = LinUCB(world.catalog, predictor, world.no_repeats, alpha)
    return [(PlanRequested, agent.act), (EpisodeSettled, agent.remember)]


LINUCB = Agent(linucb, LinUCBSettings, memories=(TRIALS,))
