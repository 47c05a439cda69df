"""Episodes of training users in which items were drawn at random: what offline learners have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.training.sight import Flags, Items, Rows, Sight, Visited
from storage.datasets.draws import integers

_AT_ONCE = 1_024


@dataclass(frozen=True, eq=False)
class Transitions:
    """Steps, a row for each: what was seen, taken, got, and seen next; whether the visit ended."""

    rows: Rows
    items: Items
    rewards: NDArray[np.float64]
    left: Flags
    truncated: Flags
    after: Rows

    def __len__(self) -> int:
        return len(self.items)

    def part(self, rows: Items | Flags) -> "Transitions":
        """Return only *rows*."""
        return Transitions(*(column[rows] for column in vars(self).values()))


def gathered(parts: list[Transitions]) -> Transitions:
    """Return all *parts*, one behind the other."""
    return Transitions(*map(np.concatenate, zip(*(vars(p).values() for p in parts), strict=True)))


def taken(crowd: Visited, sight: Sight, items: Items, rows: Rows) -> Transitions:
    """Return what comes of *items* in a *crowd* of which *rows* are seen."""
    stepped = crowd.step(items)
    after = sight.rows(crowd)
    return Transitions(rows, items, stepped.rewards, stepped.left, stepped.truncated, after)


def log(crowd: Visited, sight: Sight, users: Items, *, episodes: int, seed: int) -> Transitions:
    """Return so many *episodes* of *users* drawn at random, whole ones."""
    drawn = users[integers(seed, "logged users", episodes, len(users))]
    parts: list[Transitions] = []
    for start in range(0, episodes, _AT_ONCE):
        parts += _logged(crowd, sight, drawn[start : start + _AT_ONCE], f"{seed} {start}")
    return gathered(parts)


def _logged(crowd: Visited, sight: Sight, users: Items, name: str) -> list[Transitions]:
    crowd.begin(users)
    here = np.ones(len(users), np.bool_)
    parts: list[Transitions] = []
    while here.any():
        items = at_random(crowd.shown, f"{name} {len(parts)}")
        step = taken(crowd, sight, items, sight.rows(crowd))
        parts.append(step.part(here))
        here = here & ~(step.left | step.truncated)
    return parts


def at_random(shown: Flags, name: str) -> Items:
    """Return for each row an item that was not *shown*, each as likely as any other."""
    count, items = shown.shape
    visits = np.arange(count)
    chosen = integers(0, f"random {name}", count, items)
    attempt = 0
    while (taken := shown[visits, chosen]).any():
        attempt += 1
        chosen = np.where(taken, integers(attempt, f"random {name}", count, items), chosen)
    return chosen
