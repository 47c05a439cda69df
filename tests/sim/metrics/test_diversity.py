"""Formulas of diversity: small examples by hand, and what holds for all of them."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.metrics.diversity import (
    dominating,
    domination,
    entropy,
    gini,
    novelty,
    spread,
    unlikeness,
    variety,
)
from storage.catalog import Catalog
from storage.factors import UNIT, Factors
from tests.support.drawn import TEXTS
from tests.support.small import synthetic

SETS = (("War",), ("Drama", "War"), (), ("Art",), ("Art", "Drama"), ())


def catalog(popularity: Sequence[int], categories: Sequence[tuple[str, ...]] = SETS) -> Catalog:
    count = len(popularity)
    titles = tuple(str(item) for item in range(count))
    return Catalog(titles, tuple(categories[:count]), np.array(popularity, dtype=np.int64))


def factors(*places: Sequence[int]) -> Factors:
    """Return factors of which nothing but *places* matters."""
    none, flat = np.zeros((len(places), 1), np.int16), np.zeros(len(places), np.int32)
    return Factors(
        users=none,
        items=none,
        user_bias=flat,
        item_bias=flat,
        mean=0,
        bits=12,
        low=1.0,
        high=5.0,
        places=np.array(places, dtype=np.int16),
        beta_squared=1,
    )


FOUR = factors((UNIT, 0), (0, UNIT), (-UNIT, 0), (UNIT, 0))
counts = st.dictionaries(st.integers(0, 19), st.integers(1, 50)).map(Counter)
lists = st.lists(st.integers(0, 5), min_size=2, max_size=9)


# -- entropy


@pytest.mark.parametrize("count", [1, 2, 8, 1000])
def test_equal_shares_have_the_most_entropy(count: int) -> None:
    """It is the logarithm of their number."""
    equal = Counter({str(name): 5 for name in range(count)})
    assert entropy(equal) == pytest.approx(log2(count))
    assert entropy(equal + Counter({"0": 20})) <= entropy(equal)


@given(st.dictionaries(TEXTS, st.integers(1, 10**6)).map(Counter))
def test_entropy_is_at_most_the_logarithm_of_the_number(names: Counter[str]) -> None:
    assert 0 <= entropy(names) <= log2(max(1, len(names))) + 1e-9


# -- Gini


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({}, 0.0),
        ({0: 3, 1: 3, 2: 3, 3: 3}, 0.0),
        ({2: 9}, 0.75),
        ({0: 1, 1: 3}, 0.625),  # 0, 0, 1, 3: (1·1 + 3·3) ÷ (4 · 4)
    ],
)
def test_gini_of_four_items(numbers: dict[int, int], expected: float) -> None:
    assert gini(Counter(numbers), 4) == expected


def test_an_empty_catalog_has_no_inequality() -> None:
    assert gini(Counter(), 0) == 0


@given(counts)
def test_gini_is_half_the_mean_difference(numbers: Counter[int]) -> None:
    """Over all pairs of the catalog's items, relative to the mean: the definition."""
    shares = [numbers[item] for item in range(20)]
    apart = sum(abs(one - other) for one in shares for other in shares)
    expected = Fraction(apart, max(1, 2 * 20 * sum(shares)))
    assert gini(numbers, 20) == float(expected)
    assert 0 <= expected <= Fraction(19, 20)


@given(st.integers(1, 30), st.integers(1, 9))
def test_equal_shares_have_no_inequality(items: int, times: int) -> None:
    assert gini(Counter(dict.fromkeys(range(items), times)), items) == 0


# -- novelty


def test_novelty_is_told_in_bits() -> None:
    """12 interactions and 4 items: shares are 8, 4, 2 and 2 of 16."""
    world = catalog([7, 3, 1, 1])
    assert [novelty(Counter([item]), world) for item in range(4)] == [1.0, 2.0, 3.0, 3.0]
    assert novelty(Counter([0, 0, 0, 3]), world) == 1.5


def test_items_that_nobody_met_have_a_novelty() -> None:
    """Shares are smoothed; where nobody met anything, all items are as new."""
    assert novelty(Counter([1]), catalog([0, 0, 0, 0])) == 2.0
    assert novelty(Counter(), catalog([0, 0])) == 0


@given(st.lists(st.integers(0, 99), min_size=6, max_size=6), counts)
def test_what_is_popular_is_not_new(popularity: list[int], numbers: Counter[int]) -> None:
    """No recommendations are less novel than the most popular item."""
    world = catalog(popularity)
    within = Counter({item: n for item, n in numbers.items() if item < 6})
    top = novelty(Counter([int(world.by_popularity[0])]), world)
    assert not within or novelty(within, world) >= top - 1e-9


# -- domination


def test_categories_dominate_that_cover_four_fifths() -> None:
    """Of 50 interactions 30 are with War and 25 with Drama; together they are 45, Art has 20."""
    world = catalog([20, 10, 1000, 5, 15, 0])
    assert dominating(world) == {"War", "Drama"}
    assert domination(Counter([0, 2, 3, 4]), world, dominating(world)) == 0.5


def test_the_category_that_reaches_four_fifths_is_the_last() -> None:
    """War alone covers 8 of 10; were it 7, Art would be needed."""
    assert dominating(catalog([8, 0, 0, 2])) == {"War"}
    assert dominating(catalog([7, 0, 0, 3])) == {"War", "Art"}


def test_names_decide_between_categories_as_popular() -> None:
    sets = (("B",), ("A",), ("C",), ("D",), ("E",))
    assert dominating(catalog([1] * 5, sets)) == {"A", "B", "C", "D"}


@pytest.mark.parametrize("world", [catalog([0] * 6), catalog([5, 5], ((), ())), catalog([])])
def test_nothing_dominates_where_nothing_is_known(world: Catalog) -> None:
    assert dominating(world) == frozenset()
    assert domination(Counter(range(len(world))), world, frozenset()) == 0


def test_few_categories_dominate_the_synthetic_world() -> None:
    """Not all of them: then the share of their items would tell nothing."""
    world = synthetic().catalog
    assert 0 < len(dominating(world)) < len(world.category_names) / 2


# -- intra-list diversity by places


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ((0, 1), 1.0),  # at right angles
        ((0, 2), 2.0),  # opposite
        ((0, 3), 0.0),  # in the same place
        ((0, 1, 2), 4 / 3),
        ((0, 0, 1), 2 / 3),
    ],
)
def test_spread_of_four_places(items: tuple[int, ...], expected: float) -> None:
    assert spread(FOUR, items) == expected


@given(st.lists(st.integers(0, 1_999), min_size=2, max_size=50))
@settings(deadline=None, max_examples=30)
def test_spread_is_that_of_the_distances(items: list[int]) -> None:
    """Bit for bit what the matrix of all distances gives, summed in integers."""
    world = synthetic().factors
    squared = sum(
        int(world.distance_squared(one, np.array([other]))[0])
        for one, other in combinations(items, 2)
    )
    pairs = len(items) * (len(items) - 1) // 2
    assert spread(world, items) == float(Fraction(squared, 2 * UNIT**2 * pairs))


@given(lists)
def test_spread_lies_between_the_same_and_the_opposite(items: list[int]) -> None:
    """Nought only for places that are all the same; in whatever order."""
    places = factors(*[(round(UNIT * np.cos(a)), round(UNIT * np.sin(a))) for a in range(6)])
    value = spread(places, items)
    assert 0 <= value <= 2.0001
    assert (value == 0) == (len(set(items)) == 1)
    assert value == spread(places, items[::-1])


# -- and by categories


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ((0, 1), 0.5),  # War of Drama and War
        ((1, 4), 2 / 3),  # Drama of Art, Drama and War
        ((0, 3), 1.0),  # nothing
        ((2, 5), 1.0),  # of both nothing is known
        ((2, 2), 0.0),  # but an item is like itself
        ((0, 0, 3), 2 / 3),
    ],
)
def test_variety_of_pairs(items: tuple[int, ...], expected: float) -> None:
    assert variety(catalog([0] * 6), items) == pytest.approx(expected, abs=1e-15)


@given(lists)
def test_variety_is_a_share(items: list[int]) -> None:
    """Nought for an item again and again; in whatever order."""
    value = variety(catalog([0] * 6), items)
    assert 0 <= value <= 1
    assert (value == 0) == (len(set(items)) == 1)
    assert value == variety(catalog([0] * 6), items[::-1])


def test_places_come_before_categories() -> None:
    """Where they are known they say how unlike items are."""
    world = catalog([0] * 4)
    assert unlikeness(world, FOUR)([0, 3]) == 0.0
    assert unlikeness(world, None)([0, 3]) == 1.0
