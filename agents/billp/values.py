"""Values and advantages of a finished episode."""

from collections.abc import Callable, Sequence
from math import fsum
from typing import TypeAlias

import msgspec

from engine.messages import Message, StateValued, UserResponded, number


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A step with its values and its advantage."""

    step: int
    value: float
    next_value: float
    advantage: float


Judge: TypeAlias = Callable[[Sequence[Message]], Sequence[Judged]]
"""Says of a settled episode what its steps were worth."""


def advantage(
    reward: float, value: float, next_value: float, *, discount: float, with_reward: bool = True
) -> float:
    """Return r + γ·V(s′) − V(s), the one-step advantage (arXiv 2403.00843, critic).

    *reward* is on the environment's rating scale, values on the critic's (−5…5). Without the
    reward it is V(s′) − V(s), as the authors' recorded runs had it.
    """
    if not with_reward:
        return next_value - value
    return reward + discount * next_value - value


def judged_steps(
    episode: Sequence[Message],
    *,
    discount: float = 0.5,
    with_reward: bool = True,
    left: float = 0.0,
) -> list[Judged]:
    """Return the steps of *episode* whose two values are known.

    *left* is the value of having left: with 0 a step that ended the visit looks good wherever the
    state before it looked bad. A state whose value could not be read has none, and the steps on
    both sides of it are left out.
    """
    values = {m.state: m.value for m in episode if isinstance(m, StateValued)}
    steps: list[Judged] = []
    for response in (m for m in episode if isinstance(m, UserResponded)):
        value = values.get(response.step)
        after = left if response.left else values.get(response.step + 1)
        if value is None or after is None:
            continue
        worth = advantage(response.reward, value, after, discount=discount, with_reward=with_reward)
        steps.append(
            Judged(step=response.step, value=value, next_value=after, advantage=number(worth))
        )
    return steps


def returned_steps(episode: Sequence[Message], *, discount: float = 0.5) -> list[Judged]:
    """Return the steps of *episode* with Monte-Carlo advantages, which need no critic.

    The return of step n is Gₙ = rₙ + γ·Gₙ₊₁, and 0 after the last; its advantage is how far it lies
    above the mean return of the episode, which takes the place of V(s).
    """
    rewards = [m.reward for m in episode if isinstance(m, UserResponded)]
    returns = [0.0]
    for reward in reversed(rewards):
        returns.insert(0, reward + discount * returns[0])
    mean = fsum(returns[:-1]) / max(1, len(rewards))
    return [
        Judged(
            step=step,
            value=number(mean),
            next_value=number(returns[step + 1]),
            advantage=number(returns[step] - mean),
        )
        for step in range(len(rewards))
    ]
