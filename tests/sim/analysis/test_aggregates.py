"""Aggregate scores: beside rliable's, and by their formulas."""

import numpy as np
import pytest

from sim.analysis.aggregates import (
    ORACLE,
    Scores,
    aggregated,
    estimate,
    improvement,
    iqm,
    optimality_gap,
    share_above,
)
from sim.analysis.means import Group, Mean, SeedMean
from sim.analysis.statistics import Interval

OURS = np.array(
    [
        [0.10, 0.55],
        [0.42, 0.61],
        [0.38, 0.20],
        [0.77, 0.90],
        [0.05, 1.10],
        [0.61, 0.33],
        [0.29, 0.48],
    ]
)
THEIRS = np.array([[0.20, 0.35], [0.42, 0.51], [0.18, 0.30], [0.57, 0.40], [0.15, 0.70]])


def test_measures_are_those_of_rliable() -> None:
    """Reckoned with rliable 1.2.0 (it needs arch, which does not import beside pandas 3)."""
    assert iqm(OURS) == pytest.approx(0.45875)
    assert iqm(OURS[:, :1]) == pytest.approx(0.36)
    assert optimality_gap(OURS) == pytest.approx(0.522142857142857)
    assert improvement(OURS, THEIRS) == pytest.approx(0.5928571428571429)
    assert improvement(OURS[:, :1], THEIRS[:, :1]) == pytest.approx(0.5571428571428572)
    profile = [float(share_above(OURS, tau)) for tau in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    assert profile == pytest.approx([1.0, 11 / 14, 8 / 14, 5 / 14, 2 / 14, 1 / 14])


def test_intervals_are_those_of_rliable() -> None:
    """Of 50,000 and 20,000 stratified resamples there, fewer here."""
    for measure, expected in ((iqm, (0.31375, 0.6275)), (optimality_gap, (0.38643, 0.65143))):
        found = estimate(measure, OURS, seed=1)
        assert (found.low, found.high) == pytest.approx(expected, abs=0.015)
    found = estimate(improvement, OURS, THEIRS, seed=1)
    assert (found.low, found.high) == pytest.approx((0.35714, 0.82857), abs=0.03)


def test_measures_by_their_formulas() -> None:
    """The middle four of eight; what is above 1 makes up for nothing; ties count half."""
    eight = np.arange(8.0)[:, None]
    assert iqm(eight) == (2 + 3 + 4 + 5) / 4
    assert optimality_gap(np.array([[0.5], [3.0]])) == 0.25
    assert share_above(eight, 5.0) == 2 / 8
    assert improvement(np.array([[1.0], [2.0]]), np.array([[1.0]])) == 0.75


def test_one_run_has_no_interval() -> None:
    found = estimate(iqm, np.array([[3.0]]), seed=0)
    assert (found.value, found.low, found.high) == (3.0, None, None)


def group(label: str, **values: float) -> Group:
    by_seed = tuple(SeedMean(seed=int(name[1:]), value=value) for name, value in values.items())
    mean = Mean(mean=0.0, low=None, high=None, users=Interval(0.0, 0.0), by_seed=by_seed)
    seeds = tuple(own.seed for own in by_seed)
    return Group(
        label=label, runs=(), seeds=seeds, visits=0, failed=0, means={"r_traj": mean, "len": mean}
    )


def test_scores_are_shares_of_the_oracles_under_the_same_seed() -> None:
    """50 of 200 and 30 of 100: 0.25 and 0.3."""
    groups = [group("billp", s1=50.0, s2=30.0), group(ORACLE, s1=200.0, s2=100.0)]
    found = aggregated(groups, [], "r_traj", seed=0)
    assert found.oracle == ORACLE
    assert found.groups[0].iqm.value == pytest.approx(0.275)
    assert found.groups[0].optimality_gap is not None
    assert found.groups[0].optimality_gap.value == pytest.approx(0.725)
    shares = {point.tau: point.share.value for point in found.groups[0].profile}
    assert (shares[0.2], shares[0.25], shares[0.3]) == (1.0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("oracle", "measure"), [({"s1": 200.0}, "r_traj"), ({"s1": 200.0, "s2": 1.0}, "len")]
)
def test_without_an_oracle_scores_are_what_they_are(oracle: dict[str, float], measure: str) -> None:
    """It must have every seed; and a length is no share of another."""
    groups = [group("billp", s1=50.0, s2=30.0), group(ORACLE, **oracle)]
    found = aggregated(groups, [], measure, seed=0)
    assert found.oracle is None
    assert found.groups[0].iqm.value == 40.0
    assert found.groups[0].optimality_gap is None


def test_scores_may_stand_in_a_stack() -> None:
    """A measure of many resamples is that of each."""
    stack: Scores = np.stack([OURS, OURS[::-1] / 2])
    assert iqm(stack).tolist() == [float(iqm(OURS)), float(iqm(OURS / 2))]
