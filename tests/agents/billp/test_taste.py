"""What items can be expected to be worth to a user, and how they surprise."""

from types import MethodType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agents.billp.actor import Actor
from agents.billp.planner import Planner
from agents.billp.taste import NO_TASTE, Floats, Standing, Taste, Taster, standing_of
from agents.billp.variants import BILLP
from agents.making import Agent, World
from agents.settings import BillpSettings
from agents.trajectory import Trajectory
from engine.messages import PlanMade, PlanRequested
from storage.catalog import Catalog
from storage.datasets.fitting import Ratings
from tests.support.cast import CATALOG, CHESS, FARM, GO, HOUSE, RACER, trajectory

ITEMS = len(CATALOG)


def ratings(*rated: tuple[int, float]) -> Ratings:
    """Return *rated*, items with ratings, each of another user."""
    items, values = [item for item, _ in rated], [value for _, value in rated]
    return Ratings(
        np.arange(len(rated)), np.array(items, np.int64), np.array(values), (len(rated), ITEMS)
    )


NOBODY = ratings()
ALL_THREE = Taster(CATALOG, lambda: ratings(*((item, 3.0) for item in range(ITEMS))))


def test_what_few_rated_stands_near_what_such_items_get() -> None:
    """(Σ + 5·m) ÷ (n + 5): one rating moves a sixth of the way, many nearly all."""
    means = standing_of(ratings((GO, 5.0), (CHESS, 1.0), (HOUSE, 3.0))).means
    assert means[[GO, CHESS, HOUSE]].tolist() == pytest.approx([3.33333, 2.66667, 3.0])
    many = standing_of(ratings(*[(GO, 5.0)] * 95, *[(CHESS, 1.0)] * 95)).means
    assert many[[GO, CHESS]].tolist() == pytest.approx([4.9, 1.1])


def test_what_is_rated_more_often_may_be_better() -> None:
    """Where ratings say so, an item that nobody rated stands below all that many did."""
    often = [(item, 4.0) for item in (GO, CHESS) for _ in range(20)]
    standing = standing_of(ratings(*often, (HOUSE, 2.0), (RACER, 2.0)))
    assert standing.means[FARM] < standing.means[HOUSE] < standing.means[GO]
    assert standing.counts[[FARM, HOUSE, GO]].tolist() == [0, 1, 20]


def test_where_nobody_rated_nothing_is_known() -> None:
    standing = standing_of(NOBODY)
    assert not standing.means.any()
    assert not standing.counts.any()


def test_taste_is_what_the_user_liked_better_than_others() -> None:
    """By category, from the history as from the visit."""
    taste = ALL_THREE.taste(trajectory((RACER, 5.0), rated=[(GO, 5.0), (CHESS, 5.0), (HOUSE, 1.0)]))
    liking = taste.by_category
    assert liking["Puzzle"] == liking["Strategy"] > 0 > liking["Horror"]
    assert liking["Racing"] > 0
    assert "Science Fiction" not in liking


def test_who_likes_everything_has_no_taste_but_is_content() -> None:
    every = [(item, 5.0) for item in range(ITEMS)]
    taste = ALL_THREE.taste(trajectory(rated=every))
    assert max(map(abs, taste.by_category.values())) < 0.2
    assert 1.5 < taste.content < 2


def test_who_is_pleased_by_a_visit_is_not_said_to_rate_high() -> None:
    """Rewards may stand higher than ratings, for everybody: that is no taste for their items."""
    so_far = trajectory(*[(GO, 5.0)] * 3, rated=[(GO, 3.0)] * 3)
    taste = ALL_THREE.taste(so_far)
    assert taste.content > abs(taste.by_category["Puzzle"])


def test_without_anything_met_the_others_are_all_that_is_known() -> None:
    assert ALL_THREE.taste(trajectory(rated=())) == NO_TASTE
    assert ALL_THREE.expected(NO_TASTE, HOUSE) == 3.0


@given(st.lists(st.tuples(st.integers(0, ITEMS - 1), st.sampled_from([1.0, 3.0, 5.0])), max_size=9))
def test_what_is_expected_solves_the_regression(rated: list[tuple[int, float]]) -> None:
    """The same as ridge regression over categories, an intercept and one of the visit."""
    taste = ALL_THREE.taste(trajectory(*rated[3:], rated=rated[:3]))
    names = CATALOG.category_names
    rows = np.array([_row(item, names, met >= 3) for met, (item, _) in enumerate(rated)])
    rows = rows.reshape(len(rated), len(names) + 2)
    above = np.array([value - 3.0 for _, value in rated])
    solved = np.linalg.solve(rows.T @ rows + np.eye(len(names) + 2), rows.T @ above)
    found = [taste.by_category.get(name, 0.0) for name in names]
    assert found == pytest.approx(solved[: len(names)].tolist(), abs=1e-5)
    assert taste.content == pytest.approx(float(solved[-2:].sum()) * 3**0.5, abs=1e-5)


def _row(item: int, names: tuple[str, ...], visit: bool) -> list[float]:
    own = CATALOG.categories[item]
    liked = [len(own) ** -0.5 if name in own else 0.0 for name in names]
    return [*liked, 3**0.5, 3**0.5 if visit else 0.0]


def test_what_is_expected_adds_up() -> None:
    taste = Taste({"Puzzle": 0.3, "Strategy": 0.1}, content=-0.5)
    standing = Standing(np.full(ITEMS, 3.5), np.ones(ITEMS, np.int64))
    taster = Taster(CATALOG, lambda: NOBODY)
    taster.__dict__["standing"] = standing
    assert taster.expected(taste, GO) == pytest.approx(3.5 - 0.5 + 0.4 / 2**0.5)
    assert taster.expected(taste, HOUSE) == pytest.approx(3.0)


def test_items_without_categories_tell_of_content_alone() -> None:
    bare = Catalog(("A", "B"), ((), ()), np.ones(2, np.int64))
    taste = Taster(bare, lambda: NOBODY).taste(trajectory((0, 5.0), rated=[(1, 4.0)], catalog=bare))
    assert taste.by_category == {}
    assert taste.content > 0


class Unasked:
    """A world that no learner may look into."""

    def rewards(self, trajectory: Trajectory) -> Floats:
        raise NotImplementedError

    def bores(self, trajectory: Trajectory, item: int) -> bool:
        raise NotImplementedError

    def near(self, item: int) -> NDArray[np.bool_]:
        raise NotImplementedError


def tasters(agent: Agent) -> list[Taster]:
    """Return what infers tastes for the planner of *agent*, and for its actor."""
    world = World(CATALOG, BillpSettings(), lambda: NOBODY, Unasked())
    handlers = [handler for kind, handler in agent.make(world) if kind in (PlanRequested, PlanMade)]
    owners = [handler.__self__ for handler in handlers if isinstance(handler, MethodType)]
    return [owner.taster for owner in owners if isinstance(owner, Planner | Actor) and owner.taster]


def test_what_the_planner_infers_the_actor_need_not() -> None:
    """Both ask for the taste of a step: one taster infers it once, and it is the same one."""
    thinking, acting = tasters(BILLP)
    assert thinking is acting
    so_far = trajectory((RACER, 5.0))
    assert thinking.taste(so_far) is acting.taste(so_far)
