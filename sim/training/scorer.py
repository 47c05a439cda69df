"""The network of `agents.policies.learned.network` as torch trains it, and its way into a file."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from agents.policies.learned.network import Floats, Network
from sim.training.plan import Training
from sim.training.sight import FIRST, STEP, USER, Sight

CLOSED = -1e8
"""What is given to an item that was shown: no other sum comes near it."""

_NEARNESS = 3.0  # what nearness is worth is learned that much faster than the rest
_QUIET = 0.3  # as much of what a last layer begins with
_START = 0.1  # how far the free numbers of an item spread at first


@dataclass(frozen=True, eq=False)
class Shared:
    """A *table* that copies of a network share: it may be large, and nobody changes it."""

    table: Tensor

    def __deepcopy__(self, _: object) -> "Shared":
        return self


class Body(nn.Module):
    """What all networks begin with: the vectors of users and items, and two layers of ReLU."""

    def __init__(self, sight: Sight, plan: Training, learners: np.ndarray) -> None:
        super().__init__()
        self.window, self.limit = plan.window, sight.limit
        factors = torch.tensor(sight.folding.items, dtype=torch.float32)
        items = torch.randn(len(factors), plan.width) * _START
        items[:, : factors.shape[1]] = factors
        self.items = nn.Parameter(items)
        self.middle = float(sight.folding.mean[0])
        vectors = torch.tensor(sight.vectors, dtype=torch.float32)
        self.register_buffer("users", vectors)
        # By the spread among those who are learned from: nothing of a test user is in it.
        self.register_buffer("scale", vectors[learners].std(dim=0).clamp(min=1e-6))
        seen = sight.folding.width + plan.window * (plan.width + 2) + 1
        self.first = nn.Linear(seen, plan.hidden)
        self.second = nn.Linear(plan.hidden, plan.hidden)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the last hidden layer for each of *rows*."""
        items, known = self.recent(rows)
        recent = self.items[items] * known[:, :, None]
        rewards = rows[:, FIRST + self.window : FIRST + 2 * self.window]
        above = (rewards - self.middle) * known
        users = self.user(rows) / self.scale
        progress = rows[:, STEP : STEP + 1] / self.limit
        inputs = torch.cat([users, recent.flatten(1), above, known, progress], dim=1)
        return torch.relu(self.second(torch.relu(self.first(inputs))))

    def recent(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last items, 0 where there is none, and 1 where there is one."""
        items = rows[:, FIRST : FIRST + self.window].long()
        return items.clamp(min=0), (items >= 0).float()

    def user(self, rows: Tensor) -> Tensor:
        """Return the users' vectors."""
        return self.users[rows[:, USER].long()]


class Scorer(nn.Module):
    """Gives each item a number, or one for each of *heads*; items that were shown get `CLOSED`.

    At first that is *trust* times the predicted reward.
    """

    def __init__(
        self,
        sight: Sight,
        plan: Training,
        learners: np.ndarray,
        *,
        heads: int = 1,
        trust: float = 1.0,
    ) -> None:
        super().__init__()
        self.body = Body(sight, plan, learners)
        self.heads, self.told = heads, sight.near is not None
        self.count, self.width = self.body.items.shape
        self.near = Shared(torch.tensor(sight.near)) if sight.near is not None else None
        bias = torch.tensor(sight.folding.item_bias, dtype=torch.float32)
        self.bias = nn.Parameter(trust * bias.repeat(heads, 1))
        factors = sight.folding.items.shape[1]
        self.skip = nn.Linear(factors + 1, self.width, bias=False)
        self.last = nn.Linear(plan.hidden, heads * (self.width + self.told))
        with torch.no_grad():
            self.last.weight.mul_(_QUIET)
            self.skip.weight.zero_()
            self.skip.weight[:factors, :factors] = trust * torch.eye(factors)

    def forward(
        self, obs: np.ndarray | Tensor, state: None = None, info: object = None
    ) -> tuple[Tensor, None]:
        """Return what is given for each of the rows *obs*: [n, items], or [n, items, heads]."""
        rows = torch.as_tensor(obs, dtype=torch.float32)
        given = self.open(rows).masked_fill(self.closed(rows)[:, None], CLOSED)
        return (given[:, 0] if self.heads == 1 else given.transpose(1, 2)), state

    def open(self, rows: Tensor) -> Tensor:
        """Return what is given to all items, shown or not, [n, heads, items]."""
        state = self.states(rows)
        given = state[:, :, : self.width] @ self.body.items.T + self.bias
        if self.told:
            given = given + _NEARNESS * state[:, :, self.width :] * self.near_recent(rows)[:, None]
        return given

    def states(self, rows: Tensor) -> Tensor:
        """Return f(s), [n, heads, width], with what nearness is worth behind it."""
        state = self.last(self.body(rows)).view(len(rows), self.heads, self.width + self.told)
        wanted = state[:, :, : self.width] + self.skip(self.body.user(rows))[:, None]
        return torch.cat([wanted, state[:, :, self.width :]], dim=2)

    def at(self, rows: Tensor, items: Tensor) -> Tensor:
        """Return what is given to one item of each row, [n, heads]."""
        state = self.states(rows)
        given = torch.einsum("nhd,nd->nh", state[:, :, : self.width], self.body.items[items])
        given = given + self.bias.T[items]
        if self.told:
            near = self.near_recent(rows).gather(1, items[:, None])
            given = given + _NEARNESS * state[:, :, self.width] * near
        return given

    def near_recent(self, rows: Tensor) -> Tensor:
        """Return 1 for items near one of the last ones, else 0, [n, items]."""
        if self.near is None:
            return torch.zeros(len(rows), self.count)
        items, known = self.body.recent(rows)
        return (self.near.table[items] & known.bool()[:, :, None]).any(dim=1).float()

    def closed(self, rows: Tensor) -> Tensor:
        """Return which items were shown, [n, items]."""
        shown = rows[:, FIRST + 2 * self.body.window :].long()
        # Where there is none yet, a column behind the last is marked.
        marked = torch.zeros(len(rows), self.count + 1, dtype=torch.bool)
        marked.scatter_(1, torch.where(shown < 0, self.count, shown), value=True)
        return marked[:, : self.count]

    def network(self, shares: Tensor) -> Network:
        """Return the weights as they are played; of each head its share counts."""
        last = self.last.weight.view(self.heads, self.width + self.told, -1)
        last = torch.einsum("h,hdk->dk", shares, last).clone()
        last_bias = shares @ self.last.bias.view(self.heads, -1)
        if self.told:
            last[self.width] *= _NEARNESS
            last_bias[self.width] *= _NEARNESS
        body = self.body
        return Network(
            items=_floats(body.items),
            bias=_floats(shares @ self.bias),
            scale=_floats(body.scale),
            middle=np.array([body.middle]),
            skip=_floats(self.skip.weight),
            first=_floats(body.first.weight),
            first_bias=_floats(body.first.bias),
            second=_floats(body.second.weight),
            second_bias=_floats(body.second.bias),
            last=_floats(last),
            last_bias=_floats(last_bias),
        )


def _floats(weights: Tensor) -> Floats:
    return np.asarray(weights.detach().double().numpy())


class Critic(nn.Module):
    """Gives a state a value."""

    def __init__(self, sight: Sight, plan: Training, learners: np.ndarray) -> None:
        super().__init__()
        self.body = Body(sight, plan, learners)
        self.last = nn.Linear(plan.hidden, 1)

    def forward(self, obs: np.ndarray | Tensor, state: None = None, info: object = None) -> Tensor:
        """Return the value of each of the rows *obs*, [n, 1]."""
        return self.last(self.body(torch.as_tensor(obs, dtype=torch.float32)))


class ActionValues(Scorer):
    """A scorer as critics of actions are asked: without a state."""

    def forward(self, obs: np.ndarray | Tensor, state: None = None, info: object = None) -> Tensor:
        """Return the value of each item, [n, items]."""
        return super().forward(obs)[0]
