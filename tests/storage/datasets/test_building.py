from dataclasses import replace

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import ConfigError, DataError
from storage.datasets.building import Recipe, build, fixed_point
from storage.datasets.draws import bells, integers
from storage.datasets.fitting import Ratings, fit
from storage.datasets.interactions import Description, Interactions, Scale, encode, gather
from storage.environments import Environment, Provenance

RECIPE = Recipe(dimensions=4, min_user=2, min_item=2)


def data(scale: Scale = "rating", factor: float = 1.0) -> Interactions:
    """Fifty users of whom each half likes the other half of thirty items."""
    pairs = integers(0, "pairs", 900, 50 * 30)
    liked = (pairs // 30 + pairs % 30) % 2
    noise = bells(0, "ratings", (900,), 1_000) // 2_000
    ratings = np.clip(2 + 2 * liked + noise, 1, 5) * factor
    return gather(
        encode(map(str, (pairs // 30).tolist())),
        encode(map(str, (pairs % 30).tolist())),
        ratings.astype(np.float64),
        scale=scale,
        described={str(item): Description(f"Item {item}", ("Even",)) for item in range(0, 30, 2)},
    )


def built(source: Interactions | None = None, recipe: Recipe = RECIPE) -> Environment:
    origin = Provenance(source="made up")
    return build(source or data(), recipe, name="small", kind="csv", provenance=origin)


def test_rewards_are_those_of_the_model() -> None:
    """Fixed point keeps what was fitted, to the third digit."""
    known = data()
    ratings = Ratings(known.users, known.items, known.values, (50, 30))
    model = fit(ratings, 4, seed=0)
    factors = fixed_point(model, known, RECIPE)
    pairs = zip(known.users.tolist(), known.items.tolist(), strict=True)
    rewards = [factors.reward(user, item) for user, item in pairs]
    assert rewards == pytest.approx(np.clip(model.predict(ratings), 1, 5), abs=1e-3)
    assert (factors.low, factors.high) == (1.0, 5.0)


def altered(source: Interactions, rows: NDArray[np.bool_]) -> Interactions:
    """Return *source* with other values in *rows*; the lowest and the highest stay."""
    values = source.values.copy()
    values[rows] = values[rows][::-1]
    assert (values != source.values).any()
    return replace(source, values=values)


@pytest.mark.parametrize("scale", ["rating", "hours", "positive"])
def test_what_agents_are_told_did_not_make_the_world(scale: Scale) -> None:
    """Other ratings in histories, same rewards; other ratings of the truth, same histories."""
    source = replace(data(scale), values=(np.arange(len(data())) % 5 + 1).astype(np.float64))
    world = built(source)
    owners = np.repeat(np.arange(50), np.diff(world.users.offsets))
    told = {*zip(owners.tolist(), world.users.items.tolist(), strict=True)}
    pairs = zip(source.users.tolist(), source.items.tolist(), strict=True)
    rows = np.array([pair in told for pair in pairs])
    other_past, other_truth = (built(altered(source, chosen)) for chosen in (rows, ~rows))
    assert (other_past.factors.users == world.factors.users).all()
    assert (other_past.factors.item_bias == world.factors.item_bias).all()
    assert (other_truth.users.ratings == world.users.ratings).all()
    is_rated = scale != "positive"
    assert (other_past.users.ratings != world.users.ratings).any() == is_rated
    assert (other_truth.factors.items != world.factors.items).any() == is_rated


def test_each_user_gives_the_truth_a_share() -> None:
    """A half, rounded down, or what is asked for: what is told of a user is the rest."""
    counts = np.bincount(data().users)
    for share in (0.5, 0.8):
        world = built(recipe=replace(RECIPE, truth_share=share))
        told = np.diff(world.users.offsets)
        assert told.tolist() == [count - int(count * share) for count in counts]
        assert world.head.fit is not None
        assert world.head.fit.fitted + world.head.fit.held_out == len(data())


def test_each_sample_is_another_world_of_the_same_people() -> None:
    """Rewards differ, and what is told does not; in the mean of all of them tastes are alike."""
    worlds = [built(recipe=replace(RECIPE, sample=sample)) for sample in (0, 1)]
    assert (worlds[0].factors.items != worlds[1].factors.items).any()
    assert (worlds[0].users.items == worlds[1].users.items).all()
    mean = built(recipe=replace(RECIPE, factors="mean"))
    assert mean.head.fit is not None
    assert mean.head.fit.drawn is None
    spread = [
        np.std([world.factors.rewards(user) for user in range(50)], axis=0).mean()
        for world in (mean, *worlds)
    ]
    assert spread[0] < min(spread[1:])


def test_a_truth_needs_ratings() -> None:
    """Where nobody has two, nothing is left to make a world of; the sentence says the share."""
    single = gather(encode("abc"), encode("xyz"), np.ones(3), scale="rating", described={})
    with pytest.raises(DataError, match=r"a share of 0\.5 ") as caught:
        built(single, Recipe())
    assert "--truth-share" in caught.value.hint


def test_popularity_is_what_training_users_met() -> None:
    """What test users met must not leak into what is popular."""
    world = built()
    met = [item for user in world.train_users.tolist() for item, _ in world.history(user, 999)]
    assert world.catalog.popularity.tolist() == np.bincount(met, minlength=30).tolist()


def test_shares_are_kept() -> None:
    """A fifth of the users test, and the asked share of pairs is near."""
    world = built(recipe=replace(RECIPE, beta_quantile=0.25))
    near = [world.factors.near(item, np.arange(30)).sum() - 1 for item in range(30)]
    assert world.head.test_users == round(len(world.users) / 5)
    assert sum(near) / (30 * 29) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("scale", ["hours", "positive"])
def test_histories_hold_no_negatives(scale: Scale) -> None:
    """Sampled dislikes teach the model; no user ever met them."""
    world = built(data(scale))
    assert world.users.ratings.min() >= 3.0
    assert world.head.fit is not None
    assert world.head.fit.held_out > 1.9 * world.head.interactions


def test_same_recipe_same_world() -> None:
    """Building holds no chance but the seed."""
    assert built().head == built().head
    assert built(recipe=replace(RECIPE, seed=1)).head.digest != built().head.digest


def test_wide_scales_fit_in_sixteen_bits() -> None:
    """Ratings up to 100 cost fractional bits, not correctness."""
    world = built(data(factor=20.0))
    assert world.factors.bits < built().factors.bits
    assert world.factors.rewards(0).max() <= 100.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"test_share": 0.0},
        {"test_share": 1.0},
        {"truth_share": 0.0},
        {"truth_share": 1.0},
        {"sample": -1},
        {"category_weight": 1.5},
        {"beta_quantile": -0.1},
        {"dimensions": 0},
    ],
)
def test_impossible_recipes_are_refused(wrong: dict[str, float]) -> None:
    """The sentence names the number."""
    with pytest.raises(ConfigError, match=str(*wrong.values())):
        built(recipe=msgspec.convert(msgspec.to_builtins(RECIPE) | wrong, Recipe))


@pytest.mark.parametrize("least", [1, 3])
def test_too_few_users_are_a_sentence(least: int) -> None:
    """Somebody to learn from and somebody to test with are needed, also after filtering."""
    lonely = gather(encode("aa"), encode("xy"), np.array([1.0, 2.0]), scale="rating", described={})
    with pytest.raises(DataError, match="made up: expected at least 2 users") as caught:
        built(lonely, Recipe(min_user=least))
    assert "--min-user" in caught.value.hint
