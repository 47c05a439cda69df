"""Users with a threshold and a tolerance of their own."""

import numpy as np
import pytest

from sim.world.quitting.quantile import QUANTILE, QuantileSettings
from sim.world.traits import trait
from storage.factors import UNIT
from tests.support.encounters import encounter, met, small_world
from tests.support.small import synthetic

WORLD = small_world((1.0, 2.0, 3.0, 4.0, 5.0), same=(0, 4))


def leaving(
    how: QuantileSettings, item: int, reward: float = 5.0, earlier: tuple[int, ...] = ()
) -> str | None:
    return QUANTILE.why(how, encounter(WORLD, item, met(WORLD, earlier), reward=reward))


@pytest.mark.parametrize(
    ("quantile", "lowest"), [(0.0, 1.0), (0.2, 2.0), (0.39, 2.0), (0.4, 3.0), (1.0, 5.0)]
)
def test_the_threshold_is_a_reward_of_the_user(quantile: float, lowest: float) -> None:
    """Below it are at most so many of all items; the threshold itself is borne, also at first."""
    how = QuantileSettings(quantile=quantile)
    assert leaving(how, 1, lowest) is None
    assert leaving(how, 1, lowest - 1e-5) == "reward"


def test_who_is_harder_to_please_expects_less() -> None:
    """The measure is the user's own: the second user gives half a point less to everything."""
    bob = met(WORLD, [], user=1)
    why = [QUANTILE.why(QuantileSettings(), encounter(WORLD, 1, bob, reward=r)) for r in (1.5, 1.4)]
    assert why == [None, "reward"]


def test_a_quarter_of_the_synthetic_catalog_is_below() -> None:
    factors = synthetic().factors
    for user in range(20):
        below = np.mean(factors.rewards(user) < factors.quantile(user, 0.25))
        assert 0.24 < below <= 0.25


@pytest.mark.parametrize(
    ("window", "reason"), [(0, None), (1, None), (2, "similar"), (9, "similar")]
)
def test_the_window_is_as_billps(window: int, reason: str | None) -> None:
    """Of none, of too few, of just enough, and longer than the visit."""
    how = QuantileSettings(window=window)
    assert leaving(how, 4, earlier=(0, 1)) == reason
    assert QUANTILE.bores(how, met(WORLD, [0, 1]), 4, WORLD) == (reason is not None)


def test_a_tolerance_is_a_share_of_beta() -> None:
    """Items at the distance itself are borne: √2 apart, in a world whose β is a half."""
    apart = float(np.sqrt(WORLD.factors.distance_squared(1, np.array([0]))[0])) / (UNIT / 2)
    over, under, none = (
        QuantileSettings(tolerance=(share, share)) for share in (apart + 0.01, apart - 0.01, 0.0)
    )
    assert leaving(over, 1, earlier=(0,)) == "similar"
    assert leaving(under, 1, earlier=(0,)) is None
    assert leaving(none, 0, earlier=(0,)) is None


def test_traits_are_the_users_own_and_always_the_same() -> None:
    """Between the two numbers, evenly; of one number nothing is drawn."""
    drawn = [trait(user, "tolerance", (0.0, 0.6)) for user in range(2_000)]
    assert drawn[:2] == [0.05836364129543894, 0.44727862749715835]
    assert 0.0 <= min(drawn) < 0.01
    assert 0.59 < max(drawn) < 0.6
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.01)
    assert trait(7, "tolerance", (0.5, 0.5)) == 0.5
