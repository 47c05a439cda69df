from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.datasets import fitting
from storage.datasets.draws import bells, integers, order
from storage.datasets.fitting import (
    BIAS_RIDGE,
    RIDGE,
    Ratings,
    accuracy,
    draw,
    fit,
    fit_biases,
    judge,
)
from storage.datasets.format import Columns
from storage.datasets.movielens import read

MOVIELENS = Path(__file__).parents[4] / "shared" / "data" / "ml-latest-small"


def made_up(users: int = 200, items: int = 60, count: int = 6_000) -> Ratings:
    """Ratings with two factors, biases and little noise, each pair once."""
    pairs = np.unique(integers(0, "pairs", count, users * items))
    mine, theirs = pairs // items, pairs % items
    tastes, traits = bells(0, "p", (users, 2), 1_000), bells(0, "q", (items, 2), 1_000)
    products = np.einsum("ij,ij->i", tastes[mine], traits[theirs]) / 1e6
    bias = bells(0, "b", (items,), 300)[theirs] / 1e3
    noise = bells(0, "noise", (len(pairs),), 100) / 1e3
    return Ratings(mine, theirs, 3.0 + products + bias + noise, (users, items))


def split(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return nine tenths of the rows, and the rest."""
    rows = order(seed, "held out", count)
    return np.sort(rows[count // 10 :]), np.sort(rows[: count // 10])


def test_model_finds_what_biases_cannot() -> None:
    """Where tastes differ, factors predict held-out ratings far better than biases do."""
    ratings = made_up()
    known, held = (ratings.part(rows) for rows in split(len(ratings), seed=0))
    found = judge(fit(known, 4, 0), known, held, (-2.0, 8.0))
    assert found.model.rmse < 0.7 * found.tuned_biases.rmse < found.global_mean.rmse
    assert (found.fitted, found.held_out, found.drawn) == (len(known), len(held), None)


def noisy(users: int = 200) -> Ratings:
    """Ratings with a noise of 1, of the first 200 of *users*, and of 60 items."""
    made = made_up(count=3_000)
    noise = bells(0, "much", (len(made),), 1_000) / 1e3
    return Ratings(made.users, made.items, made.values + noise, (users, 60))


def test_who_has_not_rated_is_drawn_from_the_prior() -> None:
    """Of what nothing tells the spread is what is unexplained ÷ √ridge; of the mean it is 0."""
    ratings = noisy(users=4_200)
    model = fit(ratings, 4, seed=0)
    drawn = draw(model, ratings, seed=0, sample=0)
    assert not model.users[200:].any()
    noise = drawn.users[200:].std() * RIDGE**0.5
    assert 1.0 < noise < ratings.values.std()
    assert drawn.user_bias[200:].std() * BIAS_RIDGE**0.5 == pytest.approx(noise, rel=0.05)


def test_draws_lie_around_what_ratings_tell() -> None:
    """One errs more than the model, which is shrunken, and than the mean of many draws."""
    known, held = (noisy().part(rows) for rows in split(len(noisy()), seed=0))
    model = fit(known, 4, seed=0)
    draws = [draw(model, known, seed=0, sample=sample) for sample in range(12)]
    found = judge(model, known, held, (-9.0, 15.0), drawn=draws[0])
    assert found.drawn is not None
    mean = np.mean([one.predict(held) for one in draws], axis=0)
    error = np.sqrt(np.mean((mean - held.values) ** 2))
    assert found.model.rmse < error < 0.95 * found.drawn.rmse
    spread = [one.predict(held).std() for one in draws]
    assert min(spread) > model.predict(held).std()


def test_each_number_is_a_draw_of_its_own() -> None:
    """The same one each time, whatever was drawn before."""
    model = fit(noisy(), 4, seed=0)
    first, other, again = (draw(model, noisy(), seed=0, sample=number) for number in (0, 1, 0))
    assert (first.items == again.items).all()
    assert (first.items != other.items).any()
    assert (first.items != draw(model, noisy(), seed=1, sample=0).items).any()


def test_accuracy_is_within_users() -> None:
    """Errors, their mean, and pairs of one user's ratings in the right order; ties are half."""
    predicted = np.array([1.0, 2.0, 9.0, 4.0, 4.0, 3.0])
    users, values = np.array([0, 0, 1, 0, 2, 2]), np.array([1.0, 3.0, 9.0, 2.0, 5.0, 2.0])
    found = accuracy(predicted, users, values)
    assert (found.count, found.auc) == (6, 0.75)  # 1 < 2 and 1 < 4 and 4 > 3, but not 4 < 2
    assert found.bias == pytest.approx(1 / 6, abs=1e-5)
    assert found.rmse == pytest.approx(1.08012)


def test_one_who_rates_all_alike_has_no_order() -> None:
    """What cannot be right cannot be wrong: by half, as chance would."""
    found = accuracy(np.array([1.0, 2.0]), np.array([0, 0]), np.array([3.0, 3.0]))
    assert found.auc == 0.5


def test_what_was_shown_at_random_is_judged_by_the_same_model() -> None:
    """Where people rate what they like, ratings of the rest are lower than is predicted."""
    ratings = made_up(count=12_000)
    at_random = np.arange(len(ratings)) % 4 == 0
    liked = np.flatnonzero(~at_random & (ratings.values > 2.5))
    learned, kept = (ratings.part(liked[rows]) for rows in split(len(liked), seed=0))
    shown = ratings.part(np.flatnonzero(at_random))
    found = judge(fit(learned, 4, 0), learned, kept, (-2.0, 8.0), shown=shown).unbiased
    assert found is not None
    assert (found.chosen.count, found.shown.count) == (len(kept), len(shown))
    assert abs(found.chosen.bias) < 0.1 < found.shown.bias
    assert found.shown.auc > 0.5


def test_same_seed_gives_the_same_model() -> None:
    """Fitting holds no chance of its own."""
    first, second = (fit(made_up(), 4, seed=1) for _ in range(2))
    assert (first.items == second.items).all()
    assert (first.items != fit(made_up(), 4, seed=2).items).any()


def test_unseen_rows_are_average() -> None:
    """Who has no ratings gets neither factors nor bias."""
    ratings = made_up()
    larger = Ratings(ratings.users, ratings.items, ratings.values, (201, 61))
    model = fit(larger, 4, seed=0)
    assert not model.users[200].any()
    assert (model.user_bias[200], model.item_bias[60]) == (0.0, 0.0)


def test_endless_ridge_leaves_the_mean() -> None:
    """The global mean is the model of biases that are held at 0."""
    ratings = made_up()
    predicted = fit_biases(ratings, float("inf")).predict(ratings)
    assert predicted == pytest.approx(ratings.values.mean())


@pytest.mark.slow
@pytest.mark.skipif(not MOVIELENS.exists(), reason="needs ../shared/data/ml-latest-small")
def test_movielens_is_predicted_as_well_as_known() -> None:
    """The mean RMSE of five splits is at most .86, and better than tuned biases in each."""
    data = read(MOVIELENS, Columns())
    shape = len(data.user_names), len(data.titles)
    ratings = Ratings(data.users, data.items, data.values, shape)
    fits = []
    for seed in range(5):
        known, held = (ratings.part(rows) for rows in split(len(ratings), seed))
        fits.append(judge(fit(known, 32, seed), known, held, (0.5, 5.0)))
    assert np.mean([one.model.rmse for one in fits]) <= 0.86
    assert all(one.model.rmse < one.tuned_biases.rmse for one in fits)


@pytest.mark.parametrize("most", [1, 7, 10**6])
def test_rows_taken_together_are_solved_as_each_alone(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many ratings are gathered at once is a matter of memory: not a bit moves."""
    ratings = made_up()
    expected = fit(ratings, 3, 0)
    monkeypatch.setattr(fitting, "_PAIRS", most)
    found = fit(ratings, 3, 0)
    assert np.array_equal(found.users, expected.users)
    assert np.array_equal(found.predict(ratings), expected.predict(ratings))
