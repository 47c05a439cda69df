"""LinUCB: the formulas against brute force, and what it does with them on a real bus."""

from collections.abc import Sequence
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agents.embeddings import hashed
from agents.policies.linucb import TRIALS, WIDTH, LinUCB, Moments, Pull, upper_bounds
from agents.policies.predictions import Predictor, history
from agents.trajectory import task_lines
from engine.messages import ActionTaken, EpisodeSettled, PlanRequested
from engine.records import Record
from storage.catalog import Catalog
from storage.datasets.fitting import Ratings
from storage.factors import significant
from storage.memory import Memory
from tests.support.cast import (
    CATALOG,
    CHESS,
    EVERYTHING,
    FARM,
    GO,
    OPERA,
    PILOT,
    RACER,
    SAGA,
    Told,
    Visit,
    trajectory,
)

Floats = NDArray[np.float64]

RATED = ((0, CHESS, 5.0), (0, GO, 4.0), (1, RACER, 1.0), (1, SAGA, 3.0), (2, FARM, 2.0))
FEATURES = st.lists(st.floats(0, 1, width=16), min_size=WIDTH, max_size=WIDTH)
PAYOFFS = st.floats(0, 5, width=16)
TRIAL = st.builds(lambda x, p: Pull(features=tuple(x), payoff=p), FEATURES, PAYOFFS)
LOGS = st.lists(TRIAL, max_size=12)
KEY = hashed(("somebody",))


def ratings() -> Ratings:
    users, items, values = (np.array(column) for column in zip(*RATED, strict=True))
    return Ratings(users, items, values.astype(np.float64), (3, len(CATALOG)))


PREDICTOR = Predictor(ratings)


def bandit(*, no_repeats: bool = True, alpha: float = 1.0) -> LinUCB:
    return LinUCB(CATALOG, PREDICTOR, no_repeats, alpha)


def moments_of(trials: Sequence[Pull]) -> Moments:
    moments = Moments()
    for trial in trials:
        moments = moments.with_trial(trial)
    return moments


def log_of(trials: Sequence[Pull]) -> Memory[Pull]:
    memory = Memory(TRIALS)
    for trial in trials:
        memory.append(Record(0, KEY, trial))
    return memory


def visited(agent: LinUCB, *trials: Pull, rewards: Sequence[float] = (3.0,) * 4) -> Told:
    """Let a user visit who takes anything, after what *trials* taught."""
    visit = Visit(rewards=rewards, memories={TRIALS.name: log_of(trials)})
    return visit.run((PlanRequested, agent.act), (EpisodeSettled, agent.remember))


def items(told: Told) -> list[int]:
    return [action.item for action in told.only(ActionTaken)]


# -- formulas


@given(LOGS)
def test_moments_are_those_of_a_ridge_regression(trials: list[Pull]) -> None:
    """A = I + XᵀX and b = Xᵀy, however many trials there are."""
    x = np.array([trial.features for trial in trials]).reshape(-1, WIDTH)
    y = np.array([trial.payoff for trial in trials])
    moments = moments_of(trials)
    assert moments.a == pytest.approx(np.eye(WIDTH) + x.T @ x)
    assert moments.b == pytest.approx(x.T @ y)


@given(LOGS, st.lists(FEATURES, min_size=1, max_size=5), st.floats(0, 3))
def test_bounds_are_mean_and_deviations(
    trials: list[Pull], rows: list[list[float]], alpha: float
) -> None:
    """θ of least squares with a unit ridge, and α·√(xᵀA⁻¹x), one row at a time."""
    moments = moments_of(trials)
    x = np.array([trial.features for trial in trials]).reshape(-1, WIDTH)
    y = np.array([trial.payoff for trial in trials])
    ridged = np.vstack([x, np.eye(WIDTH)]), np.concatenate([y, np.zeros(WIDTH)])
    theta = np.linalg.lstsq(*ridged, rcond=None)[0]
    expected = [
        row @ theta + alpha * sqrt(float(row @ np.linalg.solve(moments.a, row)))
        for row in map(np.array, rows)
    ]
    assert upper_bounds(np.array(rows), moments, alpha) == pytest.approx(expected, abs=1e-7)


def test_bounds_by_hand() -> None:
    """One trial of payoff 4 at e₀: A = diag(2, 1, …), θ = (2, 0, …); what is untried spreads 1."""
    moments = Moments().with_trial(Pull(features=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0), payoff=4.0))
    bounds = upper_bounds(np.eye(WIDTH)[:2], moments, 1.0)
    assert bounds == pytest.approx([2 + sqrt(0.5), 1.0])


@given(LOGS, FEATURES, PAYOFFS)
def test_a_trial_makes_nothing_less_certain(
    trials: list[Pull], features: list[float], payoff: float
) -> None:
    """The deviation of what was just tried gets smaller, or stays what it is."""
    before = moments_of(trials)
    after = before.with_trial(Pull(features=tuple(features), payoff=payoff))
    row = np.array([features])
    spreads = [upper_bounds(row, m, 1.0) - upper_bounds(row, m, 0.0) for m in (before, after)]
    assert spreads[1] <= spreads[0] + 1e-9


# -- what is known of an item


def columns(*recent: int) -> Floats:
    """Return the features, one row a feature."""
    return bandit().features(np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 2.5, 5.0]), recent).T


def test_features_before_the_first_step() -> None:
    """1, the prediction of 5, the logarithm of popularity of the largest, nothing alike yet."""
    one, predicted, popularity, most, mean, fresh = columns()
    assert (one == 1).all()
    assert predicted.tolist() == [1.0, 0.8, 0.6, 0.4, 0.2, 0.0, 0.5, 1.0]
    assert popularity[[CHESS, GO]].tolist() == pytest.approx([log(11) / log(81), 1.0], rel=1e-5)
    assert not most.any()
    assert not mean.any()
    assert (fresh == 1).all()


def test_features_tell_how_alike_the_last_items_are() -> None:
    """Of two puzzles each shares all; Star Pilot has one of Space Opera's two categories."""
    *_, most, mean, fresh = columns(CHESS, OPERA)
    assert most[[GO, PILOT, OPERA, RACER]].tolist() == [1.0, 0.5, 1.0, 0.0]
    assert mean[[GO, PILOT, OPERA, RACER]].tolist() == [0.5, 0.25, 0.5, 0.0]
    assert not fresh.any()


def test_items_without_categories_are_alike_to_nothing() -> None:
    """Not even where popularity is 0 as well: no feature is ever undefined."""
    bare = Catalog(("A", "B"), ((), ()), np.zeros(2, np.int64))
    features = LinUCB(bare, PREDICTOR).features(np.array([1.0, 2.0]), [0])
    assert features.tolist() == [[1.0, 0.2, 0.0, 0.0, 0.0, 0.0], [1.0, 0.4, 0.0, 0.0, 0.0, 0.0]]


# -- acting


def best_by_hand(agent: LinUCB, trials: Sequence[Pull], steps: int, reward: float) -> list[int]:
    """Return the items that the definition takes for a user whose every reward is *reward*."""
    rewards = agent.predictor.rewards(history(trajectory()))
    taken: list[int] = []
    known = list(trials)
    for _ in range(steps):
        features = agent.features(rewards, taken[-4:])
        moments = moments_of(known)
        bounds = [float(b) for b in upper_bounds(features, moments, agent.alpha)]
        left = [item for item in EVERYTHING if not agent.no_repeats or item not in taken]
        best = max(left, key=lambda item: (significant(bounds[item]), -item))
        known.append(Pull(features=tuple(features[best].tolist()), payoff=reward))
        taken.append(best)
    return taken


@settings(max_examples=25)
@given(trials=LOGS, reward=st.integers(2, 5), no_repeats=st.booleans(), alpha=st.floats(0, 2))
def test_the_highest_bound_is_taken_at_each_step(
    trials: list[Pull], reward: int, no_repeats: bool, alpha: float
) -> None:
    """By what was learned before and in the steps so far; what was shown may be left out."""
    agent = bandit(no_repeats=no_repeats, alpha=alpha)
    told = visited(agent, *trials, rewards=[float(reward)] * 5)
    assert items(told) == best_by_hand(agent, trials, 5, float(reward))


def test_of_equal_bounds_the_lower_position_is_taken() -> None:
    """Items that nothing tells apart come in the order of the catalog."""
    twins = Catalog(CATALOG.titles, (("A",),) * 8, np.ones(8, np.int64))
    same = Ratings(np.zeros(8, np.int64), np.arange(8), np.full(8, 3.0), (1, 8))
    agent = LinUCB(twins, Predictor(lambda: same))
    assert items(visited(agent, rewards=[3.0] * 8)) == list(EVERYTHING)


def alike(likeness: float, payoff: float) -> Pull:
    return Pull(features=(1.0, 0.6, 0.9, likeness, likeness, 0.0), payoff=payoff)


@pytest.mark.parametrize("pays", [True, False])
def test_it_learns_whether_likeness_makes_users_leave(pays: bool) -> None:
    """After Chess Duel the other puzzle, if that paid; anything else, if users left at it."""
    taught = [alike(1.0, 5.0 * pays), alike(0.0, 5.0 * (not pays))] * 50
    features = bandit().features(np.full(len(CATALOG), 3.0), [CHESS])
    bounds = upper_bounds(features, moments_of(taught), 1.0)
    assert (bounds[GO] > bounds[RACER]) == pays


# -- remembering


@pytest.mark.parametrize(("quits", "last"), [(True, 0.0), (False, 1.5)])
def test_leaving_pays_nothing(quits: bool, last: float) -> None:
    """Whatever the reward of the item at which the user left; a cut visit lost nothing."""
    agent = bandit()
    visit = Visit(rewards=(4.0, 3.0, 1.5), quits=quits, memories={TRIALS.name: Memory(TRIALS)})
    told = visit.run((PlanRequested, agent.act), (EpisodeSettled, agent.remember))
    assert [record.payload.payoff for record in told.kept(TRIALS)] == [4.0, 3.0, last]


def test_a_trial_is_what_was_known_before_its_step() -> None:
    """Not what came of it: the first has nothing before it, the others have the items so far."""
    agent = bandit()
    told = visited(agent, rewards=(4.0, 3.0, 1.5))
    taken = items(told)
    rewards = agent.predictor.rewards(history(trajectory()))
    assert [record.payload.features for record in told.kept(TRIALS)] == [
        tuple(agent.features(rewards, taken[:step])[item].tolist())
        for step, item in enumerate(taken)
    ]


def test_trials_are_kept_under_the_likeness_of_the_user() -> None:
    """So that a memory can be searched for users like this one."""
    (record, *_) = visited(bandit()).kept(TRIALS)
    assert (record.key == hashed(task_lines(trajectory()))).all()


def test_one_visit_teaches_the_next() -> None:
    """The second user sees what the first one's steps brought, and the trace says how many."""
    agent = bandit()
    visit = Visit(rewards=(4.0, 1.5), users=[0, 1], memories={TRIALS.name: Memory(TRIALS)})
    told = visit.run((PlanRequested, agent.act), (EpisodeSettled, agent.remember))
    first = [record.payload for record in told.kept(TRIALS)][:2]
    assert items(told)[2:] == items(visited(bandit(), *first, rewards=(4.0, 1.5)))
    assert items(told)[2:] != items(told)[:2]


# -- moments that are known already


@given(trials=LOGS, data=st.data())
def test_the_order_of_questions_changes_nothing(trials: list[Pull], data: st.DataObject) -> None:
    """Views of a log in any order, long before short: the moments are the same bits."""
    agent, log = bandit(), log_of(trials)
    lengths = data.draw(st.lists(st.integers(0, len(trials)), max_size=6))
    for length in lengths:
        learned, plain = agent._learned(log.view(length)), moments_of(trials[:length])
        assert (learned.a == plain.a).all()
        assert (learned.b == plain.b).all()


def test_what_is_known_is_not_another_runs() -> None:
    """Two agents share nothing, though their views are as long."""
    first, second = bandit(), bandit()
    one, other = alike(1.0, 5.0), alike(0.0, 5.0)
    visited(first, one)
    learned = second._learned(log_of([other]).view(1))
    assert (learned.a == moments_of([other]).a).all()
