import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.datasets.draws import bells
from storage.datasets.geometry import (
    ALL_PAIRS,
    CATEGORY_LIMIT,
    beta_squared,
    category_vectors,
    category_weights,
    places_of,
    roots,
    unit,
)
from storage.factors import UNIT

LABELS = [("A",), ("A", "B"), ("B",), (), ("C",)]


@given(st.integers(0, 2**62 - 1))
def test_roots_are_exact(square: int) -> None:
    """The whole part of a root is never off by one."""
    assert int(roots(np.array([square]))[0]) == math.isqrt(square)


def test_unit_rows_have_unit_length() -> None:
    """Every row but a row of zeros gets length 1, however long it was."""
    rows = np.array([[3, 4], [0, 0], [1, 0], [-20_000, 30_000]])
    lengths = np.sqrt((unit(rows) ** 2).sum(axis=1)) / UNIT
    assert lengths == pytest.approx([1, 0, 1, 1], abs=1e-3)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_places_have_unit_length(weight: float) -> None:
    """Every mix is as long as any other, with and without categories."""
    places = places_of(bells(0, "q", (5, 4), 1_000).astype(np.int16), LABELS, weight)
    assert np.sqrt((places.astype(float) ** 2).sum(axis=1)) / UNIT == pytest.approx(1, abs=1e-3)


def test_weight_decides_what_counts() -> None:
    """With all the weight on categories items of the same ones are in one place."""
    factors = bells(0, "q", (3, 4), 1_000).astype(np.int16)
    places = places_of(factors, [("A", "B"), ("B", "A"), ("C",)], 1.0)
    assert (places[0] == places[1]).all()
    assert (places[0] != places[2]).any()


def test_unknown_categories_make_nobody_alike() -> None:
    """Two items without categories are as far apart as their factors are."""
    factors = np.array([[100, 0], [0, 100], [50, 50]], dtype=np.int16)
    places = places_of(factors, [(), (), ("A",)], 0.4).astype(int)
    assert ((places[0] - places[1]) ** 2).sum() == pytest.approx(2 * UNIT**2, rel=1e-3)


def test_rare_categories_weigh_more() -> None:
    """A category that few items are in says more of them."""
    labels = [("A", "B"), ("A",), ("A",), ("A",), ()]
    vectors = category_vectors(labels, category_weights(labels))
    assert vectors[0, 1] > vectors[0, 0] > 0


def test_a_cloud_of_tags_stays_bounded() -> None:
    """Places do not grow with the number of categories."""
    labels = [(str(n),) for n in range(1_000)]
    assert len(category_weights(labels)) == CATEGORY_LIMIT


@pytest.mark.parametrize("items", [300, ALL_PAIRS + 500])
def test_beta_is_the_quantile_of_distances(items: int) -> None:
    """The asked share of pairs is nearer than β, exactly or by a sample."""
    places = bells(1, "p", (items, 3), UNIT // 4).astype(np.int16)
    squared = beta_squared(places, 0.1, seed=0)
    rows = places[:, None, :].astype(np.int32) - places[None, :, :]
    near = ((rows**2).sum(axis=2) < squared).sum() - items
    assert near / (items * (items - 1)) == pytest.approx(0.1, abs=1e-3)


def test_a_single_item_has_no_neighbours() -> None:
    """Without pairs an item is near to itself alone, and so where all are in one place."""
    assert beta_squared(np.zeros((1, 2), dtype=np.int16), 0.5, seed=0) == 1
    assert beta_squared(np.zeros((9, 2), dtype=np.int16), 0.5, seed=0) == 1
