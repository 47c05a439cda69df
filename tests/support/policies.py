"""Policies that nobody trained, small, and the same everywhere: for what plays them."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from agents.policies.learned.network import Floats, Network
from agents.policies.learned.observation import Folding
from agents.policies.learned.saved import PolicyHead, Saved, read_policy, write_policy
from agents.policies.predictions import Predictor
from storage.datasets.draws import bells
from storage.datasets.ratings import training_ratings
from storage.environments import Environment
from tests.support.small import synthetic

WINDOW, WIDTH, HIDDEN = 4, 20, 6


@cache
def folding(environment: Environment) -> Folding:
    return Folding.of(Predictor(lambda: training_ratings(environment)).model)


def weights(name: str, *shape: int) -> Floats:
    return np.asarray(bells(0, name, shape, 1_000) / 4_000)


def network(own: Folding, name: str = "policy", *, told: bool = False) -> Network:
    """Return a network that likes what is predicted, and something of its own beside."""
    count, users = own.items.shape[0], own.width
    given = WIDTH + told
    skip = np.zeros((WIDTH, users))
    np.fill_diagonal(skip, 1.0)
    items = weights(f"{name} items", count, WIDTH)
    items[:, : users - 1] = own.items
    last = weights(f"{name} last", given, HIDDEN)
    last_bias = np.zeros(given)
    if told:
        last[-1], last_bias[-1] = 0.0, -10.0
    return Network(
        items=items,
        bias=own.item_bias,
        scale=np.ones(users),
        middle=own.mean,
        skip=skip,
        first=weights(f"{name} first", HIDDEN, users + WINDOW * (WIDTH + 2) + 1),
        first_bias=np.zeros(HIDDEN),
        second=weights(f"{name} second", HIDDEN, HIDDEN),
        second_bias=np.zeros(HIDDEN),
        last=last,
        last_bias=last_bias,
    )


def policy(
    path: Path,
    environment: Environment | None = None,
    *,
    name: str = "policy",
    told: bool = False,
    likely: bool = False,
    trained_in: str = "",
    **head: Any,
) -> Path:
    """Write a policy of *environment* at *path*, and return the path."""
    world = environment or synthetic()
    own = folding(world)
    parts: dict[str, object] = {"folding": own, "network": network(own, name, told=told)}
    if likely:
        parts["likely"] = network(own, "likely")
    facts: dict[str, Any] = {
        "algorithm": "none",
        "seed": 0,
        "recipe": "recipe",
        "environment": trained_in or world.head.digest,
        "privileged": ("pair",) if told else (),
        "window": WINDOW,
        "limit": 50,
        "threshold": 0.3 if likely else 0.0,
    }
    write_policy(path, PolicyHead(**(facts | head)), parts)
    return path


def saved(path: Path, environment: Environment | None = None, **how: Any) -> Saved:
    return read_policy(policy(path, environment, **how))
