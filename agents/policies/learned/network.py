"""The network of a learned policy: a forward pass in NumPy, the same on every processor.

What it gives an item is f(s)·g(item) + bias(item). State s is the user's vector, the last items
with their rewards, and the step; f is two layers of ReLU, and beside them a linear look at the
user. Where a policy is told which items are near the last ones, f has one number more: what
nearness is worth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from storage.factors import significant_all

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Seen:
    """What policies see of *n* visits: a row for each.

    *users* [n, u] are the users' vectors; *items* [n, k] the last items, the newest first, −1 where
    there is none yet, and *rewards* [n, k] what they brought; *progress* [n] is step ÷ limit.
    *near* [n, items], if it is told, says which items are near one of the last ones.
    """

    users: Floats
    items: NDArray[np.int64]
    rewards: Floats
    progress: Floats
    near: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Network:
    """The weights: [items, d] for g, [items] for the bias, the layers of f.

    *scale* [u] divides the user's vector, *middle* [1] is what a reward is measured from. *skip* is
    [d, u]; *first* [h, u + k·(d + 2) + 1]; *second* [h, h]; *last* [d or d + 1, h].
    """

    items: Floats
    bias: Floats
    scale: Floats
    middle: Floats
    skip: Floats
    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats
    last: Floats
    last_bias: Floats

    @property
    def width(self) -> int:
        """How many numbers g gives an item."""
        return int(self.items.shape[1])

    @property
    def told(self) -> bool:
        """Whether it is told which items are near the last ones."""
        return len(self.last) == self.width + 1

    def logits(self, seen: Seen) -> Floats:
        """Return what each item is given, [n, items], to 6 significant digits.

        Sums are of some dozens of numbers: their order, which is the processor's, is rounded away.
        """
        hidden = _relu(self._inputs(seen) @ self.first.T + self.first_bias)
        hidden = _relu(hidden @ self.second.T + self.second_bias)
        state = hidden @ self.last.T + self.last_bias
        wanted = state[:, : self.width] + seen.users @ self.skip.T
        given = wanted @ self.items.T + self.bias
        if self.told and seen.near is not None:
            given += state[:, self.width :] * seen.near
        return significant_all(given)

    def _inputs(self, seen: Seen) -> Floats:
        known = (seen.items >= 0).astype(np.float64)
        recent = self.items[np.maximum(seen.items, 0)] * known[:, :, None]
        above = (seen.rewards - self.middle) * known
        users, progress = seen.users / self.scale, seen.progress[:, None]
        return np.hstack([users, recent.reshape(len(known), -1), above, known, progress])


def network_of(arrays: Mapping[str, Floats], window: int) -> Network:
    """Return the network that *arrays* are, for the last *window* items.

    Raises ValueError if they do not fit together.
    """
    known = {field.name for field in fields(Network)}
    if known != arrays.keys():
        raise ValueError(f"it lacks {', '.join(sorted(known - arrays.keys())) or 'nothing'}")
    network = Network(**arrays)
    _check(network, window)
    return network


def _check(network: Network, window: int) -> None:
    if network.items.ndim != 2 or network.scale.ndim != 1 or network.first_bias.ndim != 1:
        raise ValueError("its items, users or layers have another form than those of a policy")
    (items, width), users = network.items.shape, len(network.scale)
    hidden = len(network.first_bias)
    given = width + network.told if network.last.ndim == 2 else width
    expected: dict[str, tuple[int, ...]] = {
        "bias": (items,),
        "middle": (1,),
        "skip": (width, users),
        "first": (hidden, users + window * (width + 2) + 1),
        "second": (hidden, hidden),
        "second_bias": (hidden,),
        "last": (given, hidden),
        "last_bias": (given,),
    }
    for name, shape in expected.items():
        found = getattr(network, name).shape
        if found != shape:
            raise ValueError(f"its {name} is {list(found)}, not {list(shape)}")
    if not np.all(network.scale > 0):
        raise ValueError("its scale is not above 0")


def _relu(values: Floats) -> Floats:
    return np.maximum(values, 0.0)
