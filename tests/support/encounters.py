"""A world of a handful of items, and users of it who have met some before the next."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from agents.trajectory import Step, Trajectory
from engine.chance import Stream, chance
from sim.world.quitting import Encounter
from storage.catalog import Catalog
from storage.environments import Environment, Origin, Provenance, Users, assemble
from storage.factors import UNIT, Factors

ONE = 1 << 12
TITLES = ("Alpha", "Beta", "Gamma", "Delta", "Omega")


def small_world(
    rewards: Sequence[float] = (3.0,) * 5,
    categories: Sequence[Sequence[str]] = ("A",) * 5,
    same: tuple[int, int] | None = None,
    titles: tuple[str, ...] = TITLES,
) -> Environment:
    """Return a world of two users and five items, all far from each other, but for the *same* two.

    *rewards* are those of the first user; the second is half a point harder to please. *categories*
    have a letter each.
    """
    places = np.eye(len(titles), dtype=np.int16) * (UNIT - 1)
    if same is not None:
        places[same[1]] = places[same[0]]
    factors = Factors(
        users=np.zeros((2, 1), np.int16),
        items=np.zeros((len(titles), 1), np.int16),
        user_bias=np.array([0, -ONE // 2], np.int32),
        item_bias=np.array([round((reward - 3) * ONE) for reward in rewards], np.int32),
        mean=3 * ONE,
        bits=12,
        low=1.0,
        high=5.0,
        places=places,
        beta_squared=UNIT * UNIT // 4,
    )
    users = Users(
        names=("ann", "bob"),
        test=np.array([False, True]),
        offsets=np.array([0, 3, 4]),
        items=np.array([0, 2, 1, 3], np.int32),
        ratings=np.array([4.0, 3.25, 1.0, 5.0]),
    )
    labels = tuple(tuple(letters) for letters in categories)
    catalog = Catalog(titles, labels, np.ones(len(titles), np.int64))
    origin = Origin(
        name="small",
        format="test",
        category_weight=0.5,
        beta_quantile=0.1,
        seed=0,
        provenance=Provenance(source="a test"),
    )
    return assemble(origin, catalog=catalog, factors=factors, users=users)


def met(
    world: Environment, items: Sequence[int], rewards: Sequence[float] = (), user: int = 0
) -> Trajectory:
    """Return the visit of a *user* who has met *items*, oldest first, and stayed."""
    last = None
    for number, item in enumerate(items):
        last = Step(
            number=number,
            thought="",
            item=item,
            title=world.catalog.titles[item],
            categories=world.catalog.categories[item],
            reward=rewards[number] if rewards else world.factors.reward(user, item),
            left=False,
            previous=last,
        )
    return Trajectory(user=user, session=0, history=(), step=len(items), last=last)


@dataclass
class Chances:
    """Streams of chance, and who drew from one."""

    seed: int = 0
    drawn: list[str] = field(default_factory=list)

    def __call__(self, of: str = "") -> Stream:
        self.drawn.append(of)
        return chance(self.seed, 0, 0, 0, of)


def encounter(
    world: Environment,
    item: int,
    earlier: Trajectory | None = None,
    *,
    reward: float = 3.0,
    chances: Chances | None = None,
) -> Encounter:
    """Return the user before *item*, after an *earlier* part of the visit."""
    return Encounter(earlier or met(world, []), item, reward, world, chances or Chances())
