from dataclasses import replace

import msgspec
import numpy as np
import pytest

from engine.errors import ConfigError, DataError
from storage.datasets.building import Recipe, build
from storage.datasets.draws import bells, integers
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
    """Fixed point keeps what was fitted: rewards lie near the ratings they were fitted to."""
    world = built()
    users = np.repeat(np.arange(len(world.users)), np.diff(world.users.offsets))
    pairs = zip(users.tolist(), world.users.items.tolist(), strict=True)
    rewards = [world.factors.reward(user, item) for user, item in pairs]
    assert np.corrcoef(rewards, world.users.ratings)[0, 1] > 0.5
    assert (world.head.rating_low, world.head.rating_high) == (1.0, 5.0)


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
    assert world.head.interactions == len(data(scale))
    assert world.users.ratings.min() >= 3.0
    assert world.head.fit is not None
    assert world.head.fit.held_out > len(data(scale)) / 10


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
