"""Confidence sequences: by their formula, and by how often they err on simulated nulls."""

import numpy as np
import pytest

from sim.analysis.seeds import t_quantile
from sim.analysis.sequences import SPREAD, decided, kept, reach_of, sequence_interval
from sim.analysis.statistics import Floats

LOOKS = 200
REACH = np.array([reach_of(count, 0.05) or np.inf for count in range(1, LOOKS + 1)])


def ever_outside(gaps: Floats, reach: Floats = REACH) -> float:
    """Return the share of rows whose sequence of intervals leaves out 0 at any length."""
    counts = np.arange(1, gaps.shape[1] + 1)
    means = gaps.cumsum(axis=1) / counts
    squares = np.maximum((gaps**2).cumsum(axis=1) - counts * means**2, 0.0)
    spread = np.sqrt(squares / np.maximum(counts - 1, 1))
    outside = np.abs(means) > np.where(np.isinf(reach), np.inf, reach * np.maximum(spread, 1e-12))
    return float(outside.any(axis=1).mean())


@pytest.mark.parametrize("count", [5, 10, 50])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_ends_are_where_the_martingale_reaches_its_bar(count: int, level: float) -> None:
    """Theorem 4.9 of arXiv 2310.03722, as it stands there (and in `expectation` 0.6.1)."""
    gaps = np.random.default_rng(count).normal(size=count)
    found = sequence_interval(gaps, level=level)
    assert found is not None
    c2 = 1 / SPREAD
    for end in (found.low, found.high):
        total, squares = (gaps - end).sum(), ((gaps - end) ** 2).sum()
        whole = (count + c2) * squares
        martingale = np.sqrt(c2 / (count + c2)) * (whole / (whole - total**2)) ** (count / 2)
        assert martingale == pytest.approx(1 / (1 - level))


def test_false_stops_are_as_rare_as_promised() -> None:
    """Of 20,000 nulls looked at 200 times, fewer than 5 % ever leave out 0."""
    gaps = np.random.default_rng(1).normal(size=(20_000, LOOKS))
    assert 0.02 <= ever_outside(gaps) <= 0.05


@pytest.mark.parametrize("kind", ["uniform", "laplace", "t"])
def test_other_shapes_seldom_stop_it_falsely(kind: str) -> None:
    """Differences of trainings are not quite normal."""
    chance = np.random.default_rng(2)
    size = (20_000, LOOKS)
    draws = {
        "uniform": lambda: chance.uniform(-1, 1, size),
        "laplace": lambda: chance.laplace(size=size),
        "t": lambda: chance.standard_t(5, size=size),
    }
    assert ever_outside(draws[kind]()) <= 0.05


def test_heaps_stop_it_falsely_as_often_as_is_said() -> None:
    """Trainings that either collapse or not, and agents that take turns: 7.7 %."""
    chance = np.random.default_rng(2)
    gaps = chance.choice([-1.0, 1.0], (20_000, LOOKS)) + 0.3 * chance.normal(size=(20_000, LOOKS))
    assert ever_outside(gaps) == pytest.approx(0.077, abs=0.01)


def test_looking_again_and_again_needs_a_wider_interval() -> None:
    """With the interval of one look, stops are false in most nulls: that is why there is this."""
    from_t = np.array([np.inf, *(t_reach(count) for count in range(2, LOOKS + 1))])
    gaps = np.random.default_rng(3).normal(size=(2_000, LOOKS))
    assert ever_outside(gaps, from_t) > 0.3
    assert (from_t < REACH)[3:].all()


def t_reach(count: int) -> float:
    return float(t_quantile(0.95, count - 1) / np.sqrt(count))


@pytest.mark.parametrize("count", range(5))
def test_four_seeds_say_nothing(count: int) -> None:
    assert sequence_interval(np.arange(float(count))) is None


def verdicts(*gaps: float, effect: float | None = None) -> str:
    (decision,) = decided({("one", "two"): gaps}, effect=effect)
    return decision.verdict


def test_a_pair_is_decided_when_0_is_outside() -> None:
    assert verdicts(5.0, 5.1, 4.9, 5.0, 5.1) == "more"
    assert verdicts(-5.0, -5.1, -4.9, -5.0, -5.1) == "less"
    assert verdicts(5.0, -5.0, 4.9, -5.1, 5.1) == "undecided"
    assert verdicts(5.0, 5.0, 5.0, 5.0) == "undecided"


def test_a_pair_is_decided_when_the_difference_is_small() -> None:
    gaps = (0.1, -0.1, 0.2, -0.2, 0.0)
    assert verdicts(*gaps) == "undecided"
    assert verdicts(*gaps, effect=2.0) == "even"


def test_several_pairs_share_their_chance_of_an_error() -> None:
    gaps = [1.0, 2.0, 3.0, 2.5, 1.5]
    (alone,) = decided({("a", "b"): gaps})
    together = decided({("a", "b"): gaps, ("a", "c"): gaps})
    assert alone.low is not None
    assert [d.low for d in together] == [
        pytest.approx(found.low, rel=1e-5)
        for found in (sequence_interval(gaps, level=0.975),) * 2
        if found is not None
    ]


def test_a_decision_in_words() -> None:
    (decision,) = decided({("a", "b"): [5.0] * 5})
    assert str(decision) == "a − b: 5 [5, 5] after 5 seeds, the first gets more"
    (early,) = decided({("a", "b"): [5.0, 5.0]})
    assert str(early) == "a − b: 5 [–] after 2 seeds, undecided"


def test_what_was_decided_stays_so() -> None:
    """Whatever comes while another pair is still open, which goes on."""
    sure, unsure = [5.0, 5.1, 4.9, 5.0, 5.1], [5.0, -5.0, 4.9, -5.1, 5.1]
    before = decided({("a", "b"): sure, ("a", "c"): unsure})
    now = decided({("a", "b"): [*sure, -99.0], ("a", "c"): [*unsure, -5.0]})
    assert [decision.verdict for decision in now] == ["undecided", "undecided"]
    assert kept(before, now) == (before[0], now[1])
    assert kept((), now) == now
