"""Rewards as an agent can predict them, against brute force, and the policy that takes the best."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agents.policies.predictions import DIMENSIONS, Greedy, Predictor, history
from agents.policies.simple import Policy
from agents.trajectory import Trajectory
from engine.chance import chance
from engine.messages import ActionTaken, PlanRequested
from storage.datasets.draws import bells, integers
from storage.datasets.fitting import BIAS_RIDGE, RIDGE, Ratings
from storage.environments import Environment
from storage.factors import significant
from tests.support.cast import CATALOG, CHESS, EVERYTHING, FARM, GO, SAGA, Visit, trajectory
from tests.support.small import recorded, synthetic, trace_of

USERS, ITEMS = 60, len(CATALOG)
KNOWN = st.dictionaries(st.sampled_from(EVERYTHING), st.integers(1, 5).map(float))


def tastes() -> Ratings:
    """Sixty users of whom the even ones like what the odd ones do not, with a little noise."""
    pairs = np.unique(integers(0, "pairs", 400, USERS * ITEMS))
    users, items = pairs // ITEMS, pairs % ITEMS
    liked = (users + items) % 2 == 0
    noise = bells(0, "noise", (len(pairs),), 300) / 1_000
    return Ratings(users, items, np.where(liked, 4.5, 1.5) + noise, (USERS, ITEMS))


PREDICTOR = Predictor(tastes)


def of_user(user: int) -> list[tuple[int, float]]:
    ratings = tastes()
    rows = np.flatnonzero(ratings.users == user)
    return list(zip(ratings.items[rows].tolist(), ratings.values[rows].tolist(), strict=True))


def by_hand(known: Sequence[tuple[int, float]]) -> NDArray[np.float64]:
    """Return the predictions of the least squares with ridges that the definition asks for."""
    model = PREDICTOR.model
    items = [item for item, _ in known]
    seen = np.column_stack([model.items[items], np.ones(len(items))])
    ridge = np.diag(np.sqrt([RIDGE] * DIMENSIONS + [BIAS_RIDGE]))
    rest = np.array([value for _, value in known]) - model.mean - model.item_bias[items]
    goal = np.concatenate([rest, np.zeros(DIMENSIONS + 1)])
    *factors, bias = np.linalg.lstsq(np.vstack([seen, ridge]), goal, rcond=None)[0]
    return np.asarray(model.mean + bias + model.item_bias + model.items @ factors)


# -- predicting


@settings(deadline=None)
@given(KNOWN)
def test_a_user_is_folded_in_by_least_squares_with_ridges(known: dict[int, float]) -> None:
    """Σ (r − r̂)² + 14·|p|² + 3·b² is as small as it can be, whatever the user rated."""
    rated = [*known.items()]
    assert PREDICTOR.rewards(rated) == pytest.approx(by_hand(rated), rel=1e-5)


@pytest.mark.parametrize("user", range(0, USERS, 7))
def test_a_training_user_is_predicted_as_the_fitted_model_does(user: int) -> None:
    """Who comes with the ratings of a user of the fit is that user, as far as rounds settle."""
    everything = Ratings(
        np.full(ITEMS, user), np.arange(ITEMS), np.zeros(ITEMS), PREDICTOR.model.users.shape
    )
    fitted = PREDICTOR.model.predict(everything)
    assert PREDICTOR.rewards(of_user(user)) == pytest.approx(fitted, abs=0.05)


def test_a_user_without_a_past_is_average() -> None:
    """The mean and what items are worth to everybody."""
    model = PREDICTOR.model
    assert PREDICTOR.rewards([]) == pytest.approx(model.mean + model.item_bias, rel=1e-5)


def test_tastes_are_found() -> None:
    """Who liked even items is predicted to like the others of them."""
    rewards = PREDICTOR.rewards([(0, 5.0), (1, 1.0), (2, 5.0), (3, 1.0)])
    assert min(rewards[[4, 6]]) > max(rewards[[5, 7]]) + 0.5


@settings(deadline=None)
@given(KNOWN)
def test_the_order_of_ratings_does_not_matter(known: dict[int, float]) -> None:
    """Nor do the last bits of sums: what is predicted has six digits."""
    rewards = PREDICTOR.rewards([*known.items()])
    again = PREDICTOR.rewards(sorted(known.items(), reverse=True))
    assert again == pytest.approx(rewards, rel=2e-6)
    assert rewards.tolist() == [significant(reward) for reward in rewards.tolist()]


def test_the_model_is_fitted_once_and_not_before_it_is_needed() -> None:
    """An agent that is only made costs nothing."""
    asked: list[int] = []

    def ratings() -> Ratings:
        asked.append(1)
        return tastes()

    predictor = Predictor(ratings)
    assert not asked
    predictor.rewards([])
    predictor.rewards([(CHESS, 5.0)])
    assert len(asked) == 1


def test_the_history_is_what_the_user_shows() -> None:
    """Items with ratings, oldest first; not the steps of the visit."""
    assert history(trajectory((CHESS, 4.0))) == [(SAGA, 4.0), (FARM, 1.5)]


# -- taking the best


def choose(so_far: Trajectory, shown: Sequence[int] = ()) -> int:
    return Greedy(PREDICTOR).choose(so_far, shown, chance(0, 0, 0, 0, "policy"))


@settings(deadline=None)
@given(
    rated=st.lists(st.tuples(st.sampled_from(EVERYTHING), st.integers(1, 5).map(float))),
    steps=st.lists(st.tuples(st.sampled_from(EVERYTHING), st.integers(1, 5).map(float))),
    shown=st.sets(st.sampled_from(EVERYTHING), max_size=ITEMS - 1),
)
def test_the_best_prediction_is_taken(
    rated: list[tuple[int, float]], steps: list[tuple[int, float]], shown: set[int]
) -> None:
    """By the history and the rewards so far, among what was not shown."""
    rewards = PREDICTOR.rewards(rated + steps[::-1]).tolist()
    best = max({*EVERYTHING} - shown, key=lambda item: (rewards[item], -item))
    assert choose(trajectory(*steps, rated=rated), sorted(shown)) == best


def test_of_equal_predictions_the_lower_position_is_taken() -> None:
    """Items that everybody rated alike come in the order of the catalog."""
    same = Ratings(np.zeros(ITEMS, np.int64), np.arange(ITEMS), np.full(ITEMS, 3.0), (1, ITEMS))
    policy = Policy(CATALOG, Greedy(Predictor(lambda: same)))
    told = Visit(rewards=[3.0] * ITEMS).run((PlanRequested, policy.act))
    assert [action.item for action in told.only(ActionTaken)] == [*EVERYTHING]


def test_rewards_of_the_visit_change_what_comes_next() -> None:
    """Whoever likes Chess Duel and not Go Master likes even items, and the other way round."""
    assert choose(trajectory((CHESS, 5.0), (GO, 1.0), rated=()), [CHESS, GO]) % 2 == 0
    assert choose(trajectory((CHESS, 1.0), (GO, 5.0), rated=()), [CHESS, GO]) % 2 == 1


# -- what it may learn from


def hating(environment: Environment) -> Environment:
    """Return *environment* in which every test user rated the first items, and hated them."""
    users = environment.users
    owners = np.repeat(np.arange(len(users)), np.diff(users.offsets))
    rows = users.test[owners]
    place = np.arange(len(owners)) - users.offsets[owners]
    items = np.where(rows, place, users.items).astype(np.int32)
    ratings = np.where(rows, 1.0, users.ratings)
    return replace(environment, users=replace(users, items=items, ratings=ratings))


@pytest.mark.parametrize("agent", ["greedy", "linucb"])
def test_nothing_of_test_users_reaches_the_fit(agent: str, tmp_path: Path) -> None:
    """Whatever they rated: training users are recommended the same, byte for byte."""
    plain = recorded(tmp_path / "plain", agent=agent)
    other = recorded(tmp_path / "other", agent=agent, environment=hating(synthetic()))
    assert plain.trace.read_bytes() == other.trace.read_bytes()
    assert len(trace_of(plain)) > 50
