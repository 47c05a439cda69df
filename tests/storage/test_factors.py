import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import number
from storage.datasets.draws import bells
from storage.factors import UNIT, Factors, significant, significant_all


def factors(seed: int = 0, bits: int = 12) -> Factors:
    one = 1 << bits
    return Factors(
        users=bells(seed, "u", (5, 8), one // 2).astype(np.int16),
        items=bells(seed, "i", (40, 8), one // 2).astype(np.int16),
        user_bias=bells(seed, "bu", (5,), one).astype(np.int32),
        item_bias=bells(seed, "bi", (40,), one).astype(np.int32),
        mean=3 * one,
        bits=bits,
        low=1.0,
        high=5.0,
        places=bells(seed, "p", (40, 6), UNIT // 3).astype(np.int16),
        beta_squared=UNIT * UNIT // 2,
    )


finite = st.floats(-1e12, 1e12).filter(lambda value: value == 0 or abs(value) > 1e-12)


@given(finite)
def test_rounding_is_that_of_messages(value: float) -> None:
    """A rounded number goes into a message as it is."""
    rounded = significant(value)
    assert number(rounded) == rounded
    assert math.copysign(1.0, significant(-0.0)) == 1.0


@given(st.lists(finite, min_size=1))
def test_rounding_many_is_rounding_each(values: list[float]) -> None:
    """Vectorised rounding gives the very same numbers."""
    assert significant_all(np.array(values)).tolist() == [significant(value) for value in values]


@given(seed=st.integers(0, 1_000), bits=st.integers(4, 14), user=st.integers(0, 4))
def test_vectorised_rewards_are_the_single_ones(seed: int, bits: int, user: int) -> None:
    """`rewards` and `reward` are one function, to the last bit."""
    model = factors(seed, bits)
    assert model.rewards(user).tolist() == [model.reward(user, item) for item in range(40)]


@given(seed=st.integers(0, 1_000), bits=st.integers(4, 14))
def test_pairs_in_a_row_are_the_single_ones(seed: int, bits: int) -> None:
    """`reward_each` and `distances_squared_each` say of each what is said of it alone."""
    model, items = factors(seed, bits), np.arange(40)
    users, others = items % 5, np.array([items, items[::-1]]).T
    pairs = zip(users.tolist(), items.tolist(), strict=True)
    assert model.reward_each(users, items).tolist() == [model.reward(*pair) for pair in pairs]
    apart = [model.distance_squared(item, others[item]).tolist() for item in items.tolist()]
    assert model.distances_squared_each(items, others).tolist() == apart


def test_reward_follows_the_formula() -> None:
    """A reward is mean + biases + the product of factors, clipped to the scale."""
    model = factors()
    product = np.dot(model.users[2] / 4096, model.items[7] / 4096)
    expected = 3 + model.user_bias[2] / 4096 + model.item_bias[7] / 4096 + product
    assert model.reward(2, 7) == pytest.approx(min(max(expected, 1), 5), abs=1e-5)


def test_rewards_stay_on_the_scale() -> None:
    """No sum of biases leaves the rating scale."""
    high = replace(factors(), mean=100 << 12)
    assert set(high.rewards(0).tolist()) == {5.0}


@given(item=st.integers(0, 39), other=st.integers(0, 39))
def test_distance_is_symmetric(item: int, other: int) -> None:
    """It is as far there as back, and nothing is apart from itself."""
    model = factors()
    assert model.distance(item, other) == model.distance(other, item)
    assert model.distance(item, item) == 0


@given(seed=st.integers(0, 1_000), item=st.integers(0, 39))
def test_distances_are_exact(seed: int, item: int) -> None:
    """The fast way through products gives the squares of the differences."""
    model = factors(seed)
    steps = model.places.astype(int) - model.places[item]
    assert (model.distance_squared(item, np.arange(40)) == (steps**2).sum(axis=1)).all()


def test_distance_of_opposite_units_is_two() -> None:
    """Distances are in units where a unit vector has length 1."""
    model = replace(factors(), places=np.array([[UNIT, 0], [-UNIT, 0]], dtype=np.int16))
    assert model.distance(0, 1) == 2.0


def test_near_means_below_beta() -> None:
    """An item at exactly β is not near."""
    model = factors()
    squared = model.distance_squared(0, np.arange(40))
    edge = replace(model, beta_squared=int(squared[3]))
    assert not edge.near(0, np.array([3]))[0]
    assert replace(edge, beta_squared=int(squared[3]) + 1).near(0, np.array([3]))[0]
    assert edge.beta == edge.distance(0, 3)
