"""SQN: Q-learning beside a supervised head that shares its network, and plays (arXiv 2006.05779).

There the supervised head learns which item came next in logs of clicks. Here logs are of items
drawn at random: it learns from those steps alone whose reward is at least the log's median and
after which the user stayed. That is what stands for a click.
"""

from typing import Any

import torch
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.reinforce import SimpleLossTrainingStats
from torch import Tensor, nn
from torch.nn import functional

from sim.training.scorer import Scorer


class Head(nn.Module):
    """One of the heads of a *scorer*."""

    def __init__(self, scorer: Scorer, number: int) -> None:
        super().__init__()
        self.scorer, self.number = scorer, number

    def forward(self, obs: Any, state: None = None, info: object = None) -> tuple[Tensor, None]:
        """Return what the head gives for each of the rows *obs*, [n, items]."""
        given, _ = self.scorer(obs)
        return given[:, :, self.number], state


class SQN(DQN):
    """DQN on the first head of *scorer*; the second learns what brought *pleasing* or more."""

    def __init__(self, *, scorer: Scorer, pleasing: float, **how: Any) -> None:
        super().__init__(**how)
        self.both, self.pleasing = [scorer], pleasing  # in a list: its weights are the policy's

    def _update_with_batch(self, batch: Any) -> SimpleLossTrainingStats:
        self._periodically_update_lagged_network_weights()
        given, _ = self.both[0](batch.obs)
        items = torch.as_tensor(batch.act)
        values = given[torch.arange(len(items)), items, 0]
        loss = functional.mse_loss(values, batch.returns.flatten())
        pleased = torch.as_tensor((batch.rew >= self.pleasing) & ~batch.terminated)
        if pleased.any():
            loss = loss + functional.cross_entropy(given[pleased][:, :, 1], items[pleased])
        self.optim.step(loss)
        return SimpleLossTrainingStats(loss=loss.item())
