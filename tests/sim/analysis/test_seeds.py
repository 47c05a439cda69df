"""Inference over seeds: beside scipy, and by hand."""

from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sim.analysis.seeds import (
    ratio_means,
    seed_means,
    signs_p,
    t_interval,
    t_p,
    t_quantile,
    t_within,
)

DEGREES = st.integers(1, 200)


@given(DEGREES, st.floats(-50, 50))
def test_probabilities_are_those_of_scipy(degrees: int, t: float) -> None:
    theirs = 1 - 2 * stats.t.sf(abs(t), degrees)
    assert t_within(t, degrees) == pytest.approx(theirs, abs=1e-13)


@given(DEGREES, st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.9999]))
def test_quantiles_are_those_of_scipy(degrees: int, level: float) -> None:
    assert t_quantile(level, degrees) == pytest.approx(stats.t.ppf((1 + level) / 2, degrees))


@pytest.mark.parametrize("count", [2, 3, 10, 25])
def test_interval_and_p_are_those_of_scipy(count: int) -> None:
    gaps = np.random.default_rng(count).normal(size=count) + 0.5
    theirs = stats.ttest_1samp(gaps, 0.0)
    found = t_interval(gaps)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))
    assert t_p(gaps) == pytest.approx(theirs.pvalue)


def test_one_seed_has_no_spread() -> None:
    assert (t_interval([3.0]), t_p([3.0]), signs_p([3.0], seed=0)) == (None, None, None)


def test_seeds_that_agree_leave_no_doubt() -> None:
    """Unless they agree that there is nothing."""
    assert t_p([2.0, 2.0]) == 0.0
    assert t_p([0.0, 0.0]) == 1.0


@pytest.mark.parametrize(("count", "expected"), [(2, 2 / 4), (5, 2 / 32), (20, 2 / 2**20)])
def test_signs_of_up_to_twenty_seeds_are_enumerated(count: int, expected: float) -> None:
    assert signs_p(np.ones(count), seed=0) == expected


def test_signs_of_more_seeds_are_drawn() -> None:
    assert signs_p(np.ones(21), seed=0) == 1 / 10_001


def test_a_seeds_number_is_the_mean_over_its_users() -> None:
    """NaN of a seed without users, which no mean of others stands in for."""
    assert seed_means([[1.0, 3.0, nan], [nan, nan, 5.0]]).tolist() == [2.0, 5.0]
    assert np.isnan(seed_means([[1.0], [nan]])).tolist() == [False, True]
    assert ratio_means([[1.0, 8.0]], [[1.0, 4.0]]).tolist() == [1.8]


def test_a_level_is_a_probability() -> None:
    with pytest.raises(ValueError, match="expected a level between 0 and 1, got 1"):
        t_quantile(1, 3)
