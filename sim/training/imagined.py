"""DORL's world: a model of the world fitted to a log, in which an actor learns (arXiv 2307.04571).

Several networks are fitted to what the log's steps brought, and to whether users left. A visit in
the model brings their mean, less what they differ by, and more the more various the log went on
after the item: so the actor stays where the log says something, and does not narrow down to what it
says most of. The log is of training users, as all logs here.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from agents.policies.learned.network import Floats
from sim.gym.crowd import Stepped
from sim.training.logged import Transitions
from sim.training.scorer import Scorer
from sim.training.sight import Flags, Items, Sight
from storage.datasets.draws import integers, words

MODELS = 5
_BATCH, _RATE = 512, 1e-3
_DOUBT = 1.0  # of the standard deviation between models: how much less a step brings
_VARIETY = 0.1  # how much more a step brings after which the log went on most variously


def fit(model: Scorer, log: Transitions, batches: int, name: str) -> None:
    """Fit *model* to the rewards of a log, and to whether users left, by *batches* drawn by *name*.

    Its first head is the reward, its second the log-odds that the user leaves.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    rewards, left = (torch.tensor(a, dtype=torch.float32) for a in (log.rewards, log.left))
    rows, items = torch.tensor(log.rows), torch.tensor(log.items)
    for batch in range(batches):
        drawn = torch.tensor(integers(0, f"model {name} {batch}", _BATCH, len(log)))
        given = model.at(rows[drawn], items[drawn])
        loss = functional.mse_loss(given[:, 0], rewards[drawn])
        loss = loss + functional.binary_cross_entropy_with_logits(given[:, 1], left[drawn])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def variety(log: Transitions, sight: Sight) -> Floats:
    """Return how various the log went on after each item, [items], from 0 to 1.

    It is the entropy of the items that came next, as a share of the largest.
    """
    before = sight.recent(log.rows)[:, 0]
    rows = np.flatnonzero(before >= 0)
    pairs, counts = np.unique(np.stack([before[rows], log.items[rows]]), axis=1, return_counts=True)
    totals = np.bincount(before[rows], minlength=sight.items)
    shares = counts / totals[pairs[0]]
    entropy = np.bincount(pairs[0], -shares * np.log(shares), sight.items)
    return np.asarray(entropy / max(float(entropy.max()), 1e-12))


@dataclass(eq=False)
class Imagined:
    """Visits in a model of the world: a crowd that nobody has to ask.

    Users leave by the mean chance that the *models* give it; what is drawn is drawn by *name*.
    """

    models: nn.ModuleList
    various: Floats
    sight: Sight
    low: float
    high: float
    name: str
    taken: int = 0
    users: Items = field(init=False)
    steps: Items = field(init=False)
    shown: Flags = field(init=False)
    _items: Items = field(init=False)
    _rewards: Floats = field(init=False)

    def begin(self, users: Items) -> None:
        """Begin visits of *users*."""
        self.users = users.copy()
        self.steps = np.zeros(len(users), np.int64)
        self.shown = np.zeros((len(users), self.sight.items), np.bool_)
        self._items = np.full((len(users), self.sight.limit), -1, np.int64)
        self._rewards = np.zeros(self._items.shape)

    def recent(self, count: int) -> tuple[Items, Floats]:
        """Return the last items and their rewards, [n, count], the oldest first, −1 padded."""
        at = self.steps[:, None] - count + np.arange(count)
        there, at = at >= 0, np.maximum(at, 0)
        items = np.take_along_axis(self._items, at, axis=1)
        rewards = np.take_along_axis(self._rewards, at, axis=1)
        return np.where(there, items, -1), np.where(there, rewards, 0.0)

    def step(self, items: Items) -> Stepped:
        """Let all visits take an item."""
        rewards, doubt, chance = self._foreseen(items)
        self.taken += 1
        drawn = words(0, f"imagined {self.name} {self.taken}", len(items)) / 2.0**64
        visits = np.arange(len(items))
        self.shown[visits, items] = True
        self._items[visits, self.steps] = items
        self._rewards[visits, self.steps] = rewards
        self.steps += 1
        left: Flags = drawn < chance
        worth = rewards - _DOUBT * doubt + _VARIETY * self.various[items]
        return Stepped(worth, left, ~left & (self.steps >= self.sight.limit))

    def restart(self, where: Flags, users: Items) -> None:
        """Begin new visits of *users* in the places *where* others are over."""
        self.users[where] = users
        self.steps[where] = 0
        self.shown[where] = False
        self._items[where] = -1
        self._rewards[where] = 0.0

    def _foreseen(self, items: Items) -> tuple[Floats, Floats, NDArray[np.float64]]:
        """Return the mean reward, its standard deviation, and the chance of leaving, [n] each."""
        rows = torch.tensor(self.sight.rows(self))
        with torch.no_grad():
            given = torch.stack([one.at(rows, torch.tensor(items)) for one in self.models])
        rewards = given[:, :, 0].clamp(self.low, self.high).double().numpy()
        chance = torch.sigmoid(given[:, :, 1]).mean(dim=0).double().numpy()
        return rewards.mean(axis=0), rewards.std(axis=0), chance
