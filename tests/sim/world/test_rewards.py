"""Rewards: what the fitted model says, shifted within the rating scale."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.messages import UserResponded
from sim.world.rewards import RewardSettings, true_reward
from storage.factors import Factors, significant
from tests.support.encounters import met
from tests.support.small import only, recorded, synthetic, trace_of

WORLD = synthetic()
FACTORS: Factors = WORLD.factors
USERS = st.integers(0, len(FACTORS.users) - 1)
ITEMS = st.integers(0, len(FACTORS.items) - 1)
OFFSETS = st.floats(-10, 10)


@settings(deadline=None)
@given(user=USERS, item=ITEMS)
def test_no_offset_leaves_a_reward_alone(user: int, item: int) -> None:
    assert true_reward(RewardSettings(), WORLD, met(WORLD, [], user=user), item) == FACTORS.reward(
        user, item
    )


@settings(deadline=None)
@given(user=USERS, item=ITEMS, offset=OFFSETS)
def test_an_offset_shifts_within_the_scale(user: int, item: int, offset: float) -> None:
    """Clipped where it would leave it, and rounded as numbers of messages are."""
    reward = true_reward(RewardSettings(offset=offset), WORLD, met(WORLD, [], user=user), item)
    shifted = FACTORS.reward(user, item) + offset
    assert reward == significant(min(max(shifted, FACTORS.low), FACTORS.high))
    assert FACTORS.low <= reward <= FACTORS.high


@pytest.mark.parametrize(("offset", "reward"), [(10.0, FACTORS.high), (-10.0, FACTORS.low)])
def test_the_scale_ends(offset: float, reward: float) -> None:
    assert true_reward(RewardSettings(offset=offset), WORLD, met(WORLD, [], user=3), 5) == reward


def test_an_offset_of_nought_leaves_the_bytes_alone(tmp_path: Path) -> None:
    """Whether it is written or not; so do changes that change nothing."""
    plain = recorded(tmp_path / "plain")
    nothing = {"offset": 0.0, "satiation": [0, 0], "recovery": 0.8, "drift": 0}
    written = recorded(tmp_path / "written", rewards=nothing)
    assert written.trace.read_bytes() == plain.trace.read_bytes()


def test_an_offset_is_in_every_response(tmp_path: Path) -> None:
    """Users are harder to please from the first step on."""
    run = recorded(tmp_path / "run", agent="popular", rewards={"offset": -9.0})
    rewards = {response.reward for response in only(trace_of(run), UserResponded)}
    assert rewards == {FACTORS.low}
