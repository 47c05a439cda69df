"""Statistics of paired comparisons: counted by hand, enumerated, and beside scipy's."""

import tracemalloc
from itertools import product
from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from sim.analysis import statistics
from sim.analysis.statistics import (
    LARGEST_EFFECT,
    Interval,
    effect_size,
    holm,
    mean_interval,
    ratio_interval,
    resampled,
    sign_flip_p,
    standard_error,
    superiority,
)

Floats = NDArray[np.float64]

NAN = float("nan")
GAPS = np.array([[1.0, -2.0, NAN], [0.5, 4.0, 8.0]])


def noise(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def few(table: Floats, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Return an interval from as few resamples as there may be."""
    return ends(mean_interval(table, seed=seed, level=level, resamples=100))


@st.composite
def tables(draw: st.DrawFn, missing: bool = True) -> Floats:
    """Draw a table of tenths in which somebody is known."""
    seeds, users = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    tenth = st.integers(-50, 50).map(lambda n: n / 10)
    cell = st.one_of(st.just(NAN), tenth, tenth) if missing else tenth
    row = st.lists(cell, min_size=users, max_size=users)
    rows = draw(st.lists(row, min_size=seeds, max_size=seeds))
    rows[0][0] = draw(tenth)
    return np.array(rows)


# Intervals.


@pytest.mark.parametrize(("level", "expected"), [(0.4, (0.5, 0.5)), (0.95, (0.0, 1.0))])
def test_two_users_have_three_means(level: float, expected: tuple[float, float]) -> None:
    """0, ½ and 1 with probabilities of ¼, ½ and ¼."""
    assert ends(mean_interval([[0.0, 1.0]], seed=1, level=level)) == expected


def test_seeds_are_taken_as_they_are() -> None:
    """One user under two seeds leaves nothing to draw; what seeds add to all widens nothing."""
    assert ends(mean_interval([[0.0], [1.0]], seed=1)) == (0.5, 0.5)
    table = noise(2, 9)
    apart = table + np.array([[-100.0], [100.0]])
    assert ends(mean_interval(apart, seed=1)) == pytest.approx(ends(mean_interval(table, seed=1)))


@pytest.mark.parametrize("level", [0.3, 0.5, 0.8, 0.95])
def test_resamples_are_as_if_all_were_enumerated(level: float) -> None:
    """All 3³ tables of drawn users: the mean of the seeds' means, of those that are known."""
    drawn = [GAPS[:, users] for users in product(range(3), repeat=3)]
    means = [np.nanmean([np.nanmean(row) for row in t if not np.isnan(row).all()]) for t in drawn]
    low, high = ends(mean_interval(GAPS, seed=3, level=level, resamples=100_000))
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    many = np.repeat(means, 1000)  # as if drawn
    least, most = (np.quantile(many, tails + margin) for margin in (-0.01, 0.01))
    assert (least <= (low, high)).all()
    assert (most >= (low, high)).all()


def test_one_seed_gives_the_interval_of_scipy() -> None:
    """Percentiles of the means of users drawn with replacement."""
    users = noise(60) + 0.3
    theirs = stats.bootstrap(
        (users,), np.mean, method="percentile", n_resamples=50_000, rng=np.random.default_rng(1)
    ).confidence_interval
    ours = mean_interval(users[None], seed=1, resamples=50_000)
    assert ends(ours) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_a_ratio_is_of_sums_drawn_together() -> None:
    """1 ÷ 1 and 8 ÷ 4: both users make 9 ÷ 5, and each alone what they are."""
    parts, wholes = [[1.0, 8.0]], [[1.0, 4.0]]
    assert ends(ratio_interval(parts, wholes, seed=1)) == (1.0, 2.0)
    assert ends(ratio_interval(parts, wholes, seed=1, level=0.4)) == (1.8, 1.8)


@given(tables())
@settings(deadline=None)
def test_a_ratio_to_visits_is_a_mean(table: Floats) -> None:
    """Of the same resamples, with who is missing left out."""
    ones = np.where(np.isnan(table), NAN, 1.0)
    assert ends(ratio_interval(table, ones, seed=0, resamples=100)) == few(table)
    doubled = ratio_interval(table, 2 * ones, seed=0, resamples=100)
    assert ends(doubled) == pytest.approx(tuple(np.array(few(table)) / 2))


def test_an_interval_depends_on_its_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the size of blocks, and other seeds give others."""
    table = noise(3, 20)
    before = few(table), sign_flip_p(table, seed=0)
    monkeypatch.setattr(statistics, "_BLOCK", 1)
    assert (few(table), sign_flip_p(table, seed=0)) == before
    assert few(table, seed=1) != before[0]


def test_random_numbers_are_the_same_everywhere() -> None:
    """Bits of PCG64 are a promise of numpy's: these numbers are not to change."""
    assert resampled(9, 100, seed=7)[0].tolist() == [5, 8, 6, 2, 2, 7, 0, 7, 7]
    table = np.arange(60.0).reshape(3, 20) % 7 - 2.5
    assert few(table, seed=7) == pytest.approx((-0.20875, 0.985), abs=1e-9)
    assert sign_flip_p(table, seed=7) == 1654 / 10_001


@given(tables(), st.integers(-40, 40))
@settings(deadline=None)
def test_a_shift_shifts_the_interval(table: Floats, shift: int) -> None:
    expected = np.array(few(table)) + shift
    assert few(table + shift) == pytest.approx(tuple(expected), abs=1e-9)


@given(tables())
@settings(deadline=None)
def test_swapped_agents_mirror_the_interval(table: Floats) -> None:
    low, high = few(table)
    assert few(-table) == pytest.approx((-high, -low), abs=1e-9)


@given(tables(), st.floats(0.01, 0.98))
@settings(deadline=None)
def test_intervals_are_nested_within_the_data(table: Floats, level: float) -> None:
    """A higher level is wider, and none is wider than the numbers are."""
    low, high = few(table, level=level)
    outer_low, outer_high = few(table, level=level + 0.01)
    assert np.nanmin(table) - 1e-9 <= outer_low <= low + 1e-9
    assert np.nanmax(table) + 1e-9 >= outer_high >= high - 1e-9


@given(tables())
@settings(deadline=None)
def test_who_is_never_there_does_not_count(table: Floats) -> None:
    """A user or a seed without a number leaves no mark on anything."""
    wider = np.pad(table, ((1, 1), (2, 0)), constant_values=NAN)
    assert few(wider) == few(table)
    assert sign_flip_p(wider, seed=0) == sign_flip_p(table, seed=0)
    assert effect_size(wider) == effect_size(table)
    assert superiority(wider) == superiority(table)
    assert standard_error(wider) == standard_error(table)


@pytest.mark.parametrize(
    ("seeds", "visits"),
    [(1, 0.0), (3, 0.5), (3, 5.0)],  # users alone, mostly users, mostly noise of single visits
)
def test_intervals_cover_as_often_as_they_say(seeds: int, visits: float) -> None:
    """Of 600 tables about 95 % have the true mean in their interval (standard error: 0.9 %)."""
    covered = 0
    for number in range(600):
        table = 1 + noise(60, seed=number) + visits * noise(seeds, 60, seed=number + 1000)
        interval = mean_interval(table, seed=number, resamples=500)
        covered += interval.low <= 1 <= interval.high
    assert 0.93 <= covered / 600 <= 0.97


def test_memory_is_bounded() -> None:
    """Blocks are small: 10,000 users and 200 resamples take less than 10 MB, not 100."""
    table = noise(3, 10_000)
    tracemalloc.start()
    mean_interval(table, seed=0, resamples=200)
    sign_flip_p(table, seed=0, resamples=200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


# The test of signs.


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 2.0, 3.0], 2 / 8),  # only all alike are as far from 0 as 6
        ([3.0, 1.0, -1.0], 6 / 8),  # 5, 3, 3 of 5, 3, 3, 1, and their mirror images
        ([1.0, 2.0, -3.0], 1.0),  # nothing is nearer than 0
        ([0.1, 0.2, -0.3], 1.0),  # and 0.1 + 0.2 − 0.3 is 0
        ([2.0], 1.0),  # one user proves nothing
        ([0.0, 0.0], 1.0),
    ],
)
def test_signs_are_counted_by_hand(differences: list[float], expected: float) -> None:
    assert sign_flip_p([differences], seed=0) == expected


def test_signs_belong_to_users_not_to_visits() -> None:
    """A user's visits have one mean and one sign; who is missing in a seed is taken as found."""
    table = [[1.0, 3.0, NAN], [NAN, 1.0, 3.0]]
    assert sign_flip_p(table, seed=0) == sign_flip_p([[1.0, 2.0, 3.0]], seed=0)


@pytest.mark.parametrize("seed", range(5))
def test_exact_p_is_that_of_scipy(seed: int) -> None:
    users = np.round(noise(9, seed=seed) + 0.5, 1)
    theirs = stats.permutation_test(
        (users, np.zeros(9)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert sign_flip_p(users[None], seed=0) == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5])
def test_random_signs_come_near_to_all(shift: float) -> None:
    """One resample less than there are choices of signs: p is as exact as chance allows."""
    table = noise(1, 17) + shift
    exact = sign_flip_p(table, seed=0, resamples=2**17)
    drawn = sign_flip_p(table, seed=0, resamples=2**17 - 1)
    assert drawn == pytest.approx(exact, abs=4 * sqrt(exact * (1 - exact) / 2**17))
    assert (exact * 2**16).is_integer()
    assert drawn != exact


def test_many_equal_users_make_it_a_sign_test() -> None:
    """Of 70 users, more than a word has bits, 45 prefer the first: a binomial tail, twice."""
    tail = 2 * sum(comb(70, n) for n in range(45, 71)) / 2**70
    table = [[1.0] * 45 + [-1.0] * 25]
    assert sign_flip_p(table, seed=0, resamples=100_000) == pytest.approx(tail, rel=0.1)


def test_a_random_p_is_never_nought() -> None:
    """The signs as they were seen are one of the choices."""
    assert sign_flip_p(np.ones((1, 200)), seed=0, resamples=999) == 1 / 1000


def test_false_alarms_are_as_rare_as_promised() -> None:
    """Without a difference 5 % of 1,000 tables have a p of at most 0.05."""
    alarms = sum(
        sign_flip_p(noise(1, 25, seed=n), seed=n, resamples=199) <= 0.05 for n in range(1000)
    )
    assert 30 <= alarms <= 70


@given(tables(), st.integers(0, 99), st.sampled_from([100, 1000]))
@settings(deadline=None)
def test_p_minds_no_order_and_no_direction(table: Floats, mix: int, most: int) -> None:
    """Users in any order, agents swapped, users who are even: the same p, drawn or exact."""
    order = np.random.default_rng(mix).permutation(table.shape[1])
    p = sign_flip_p(table, seed=0, resamples=most)
    assert sign_flip_p(table[:, order], seed=0, resamples=most) == p
    assert sign_flip_p(-table, seed=0, resamples=most) == p
    assert sign_flip_p(np.pad(table, ((0, 0), (3, 0))), seed=0, resamples=most) == p


@given(tables())
@settings(deadline=None)
def test_p_minds_no_unit(table: Floats) -> None:
    """Tenths have the ties that whole numbers have, in spite of rounding."""
    p = sign_flip_p(table, seed=0)
    assert sign_flip_p(np.round(table * 10), seed=0) == p
    assert 0 < p <= 1


# Several tests.


def test_holm_by_hand() -> None:
    """4 × 0.005, 3 × 0.01, 2 × 0.03; and 0.04 is no better than what is before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.3]) == pytest.approx([0.3])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])


P_VALUES = st.lists(st.integers(0, 100).map(lambda n: n / 100), min_size=1, max_size=8)


def rejected(p_values: list[float], alpha: float) -> set[float]:
    """Return what Holm's procedure rejects: from the smallest on, until one is too big."""
    found: set[float] = set()
    for place, p in enumerate(sorted(p_values)):
        if p * (len(p_values) - place) > alpha:
            break
        found.add(p)
    return found


@given(P_VALUES, st.floats(0.001, 0.999))
def test_holm_rejects_what_the_procedure_does(p_values: list[float], alpha: float) -> None:
    adjusted = dict(zip(p_values, holm(p_values), strict=True))
    assert {p for p in p_values if adjusted[p] <= alpha} == rejected(p_values, alpha)


@given(P_VALUES)
def test_holm_keeps_order_and_never_lowers(p_values: list[float]) -> None:
    """Between the raw p and Bonferroni's, and whoever is smaller stays no bigger."""
    raw, adjusted = np.array(p_values), holm(p_values)
    assert (raw <= adjusted).all()
    assert (adjusted <= np.minimum(1, raw * raw.size)).all()
    assert (np.diff(adjusted[np.argsort(raw)]) >= 0).all()
    assert (holm(raw[::-1]) == adjusted[::-1]).all()


# Sizes of effects.


def test_effect_size_by_hand() -> None:
    """Means of users 1 and 3: 2 ÷ √2."""
    assert effect_size([[1.0, 2.0, 3.0]]) == 2.0
    assert effect_size([[0.0, 4.0], [2.0, 2.0]]) == pytest.approx(sqrt(2))
    assert effect_size([[1.0, 3.0, NAN], [NAN, 1.0, 3.0]]) == 2.0


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([0.0, 0.0], 0.0),
        ([0.3, 0.1 * 3], LARGEST_EFFECT),
        ([-2.0, -2.0], -LARGEST_EFFECT),
        ([5.0], 0.0),
    ],
)
def test_effect_size_without_spread_is_finite(differences: list[float], expected: float) -> None:
    assert effect_size([differences]) == expected


def test_superiority_by_hand() -> None:
    """Two of four users are better off, one is even; visits that cancel make a user even."""
    assert superiority([[1.0, 0.0, -1.0, 2.0]]) == 2.5 / 4
    assert superiority([[0.1], [0.2], [-0.3]]) == 0.5


def test_sizes_are_those_of_scipy() -> None:
    """d_z is t ÷ √n; the standard error is theirs."""
    users = noise(30) + 0.4
    t = stats.ttest_1samp(users, 0).statistic
    assert effect_size(users[None]) == pytest.approx(t / sqrt(30))
    assert standard_error(users[None]) == pytest.approx(stats.sem(users))


def test_standard_error_is_of_users() -> None:
    """More seeds are not more users, and one user has no spread."""
    assert standard_error([[1.0, 3.0]]) == standard_error([[1.0, 3.0]] * 5) == pytest.approx(1.0)
    assert standard_error([[1.0], [9.0]]) == 0.0


@given(tables())
def test_sizes_mind_no_order_and_change_sides(table: Floats) -> None:
    """Swapped agents have the other sign, and the other share."""
    backwards = table[:, ::-1]
    assert effect_size(backwards) == pytest.approx(effect_size(table))
    assert superiority(backwards) == pytest.approx(superiority(table))
    assert effect_size(-table) == pytest.approx(-effect_size(table))
    assert superiority(-table) == pytest.approx(1 - superiority(table))
    assert standard_error(-table) == pytest.approx(standard_error(table))


# What is refused.


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ([], r"expected a table of shape \(seeds, users\), got shape \(0,\)"),
        ([1.0, 2.0], r"expected a table of shape \(seeds, users\), got shape \(2,\)"),
        ([[[1.0]]], r"got shape \(1, 1, 1\)"),
        ([[]], r"expected numbers, got none in a table of shape \(1, 0\)"),
        ([[NAN], [NAN]], r"expected numbers, got none in a table of shape \(2, 1\)"),
        ([[1.0, float("inf")]], "expected finite numbers"),
    ],
)
def test_no_table_is_refused(table: list[float], sentence: str) -> None:
    """By everything that takes one, in a sentence that says what came."""
    for function in (mean_interval, sign_flip_p):
        with pytest.raises(ValueError, match=sentence):
            function(table, seed=0)
    for measure in (effect_size, superiority, standard_error):
        with pytest.raises(ValueError, match=sentence):
            measure(table)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, NAN])
def test_a_level_is_a_probability(level: float) -> None:
    with pytest.raises(ValueError, match="expected a level between 0 and 1, got"):
        mean_interval([[1.0]], seed=0, level=level)


def test_few_resamples_are_refused() -> None:
    """Also where all signs can be enumerated: what is allowed does not depend on the data."""
    with pytest.raises(ValueError, match="expected at least 100 resamples, got 99"):
        mean_interval([[1.0]], seed=0, resamples=99)
    with pytest.raises(ValueError, match="expected at least 100 resamples, got 99"):
        sign_flip_p([[1.0]], seed=0, resamples=99)


@pytest.mark.parametrize(
    ("wholes", "sentence"),
    [
        ([[1.0]], r"expected tables alike, got shapes \(1, 2\) and \(1, 1\)"),
        ([[1.0, NAN]], "expected tables alike"),
        ([[0.0, 0.0]], "expected wholes of at least 0, and one above"),
        ([[-1.0, 2.0]], "expected wholes of at least 0, and one above"),
    ],
)
def test_no_ratio_is_refused(wholes: list[list[float]], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ratio_interval([[1.0, 2.0]], wholes, seed=0)


@pytest.mark.parametrize("p_values", [[], [[0.1]], [0.1, NAN], [1.1], [-0.1]])
def test_no_p_values_are_refused(p_values: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        holm(p_values)
