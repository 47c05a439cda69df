"""Rewards that change within a visit: satiation and drift, by hand and bit for bit."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.messages import RunStarted, UserResponded
from sim import replay
from sim.world.dynamics import drift
from sim.world.rewards import RewardSettings, true_reward, true_rewards
from sim.world.traits import trait
from storage.environments import Environment
from tests.support.encounters import met, small_world
from tests.support.small import only, recorded, synthetic, trace_of

WORLD = small_world((4.0, 4.0, 4.0, 1.5, 4.0), ("A", "AB", "B", "A", ""))
SATED = RewardSettings(satiation=(0.5, 0.5))
BIG = synthetic()
visits = st.lists(st.integers(0, len(BIG.catalog) - 1), max_size=60)
changing = st.builds(
    RewardSettings,
    offset=st.sampled_from([0.0, -0.3]),
    satiation=st.sampled_from([(0.0, 0.0), (0.0, 0.6), (100.0, 0.0)]),
    recovery=st.floats(0, 1),
    drift=st.sampled_from([0.0, 0.05, 1.0]),
)


def given_to(item: int, earlier: list[int], how: RewardSettings = SATED) -> float:
    return true_reward(how, WORLD, met(WORLD, earlier), item)


def test_the_first_item_is_worth_what_it_was() -> None:
    assert [given_to(item, []) for item in range(5)] == [4.0, 4.0, 4.0, 1.5, 4.0]


def test_an_item_lowers_the_next_of_its_category() -> None:
    """By the whole strength at once; where it is one of two categories, by half of it."""
    assert [given_to(item, [0]) for item in (0, 1, 2, 4)] == [3.5, 3.75, 4.0, 4.0]
    assert given_to(0, [1]) == 3.5


def test_the_user_recovers() -> None:
    """A step later .8 of it is left, and so on; several add up."""
    assert given_to(0, [0, 4]) == pytest.approx(4.0 - 0.5 * 0.8, abs=1e-4)
    assert given_to(0, [0, 0, 4, 4]) == pytest.approx(4.0 - 0.5 * (0.8**2 + 0.8**3), abs=1e-4)


@pytest.mark.parametrize(("recovery", "reward"), [(0.0, 3.5), (1.0, 2.5)])
def test_all_or_nothing_may_be_left(recovery: float, reward: float) -> None:
    how = RewardSettings(satiation=(0.5, 0.5), recovery=recovery)
    assert given_to(0, [0, 0, 0], how) == reward


def test_the_scale_ends() -> None:
    assert given_to(3, [0, 0, 0]) == 1.0


def test_users_have_a_strength_of_their_own() -> None:
    """Drawn between two numbers; the same for the oracle and for the user."""
    how = RewardSettings(satiation=(0.0, 0.6))
    for user, plain in enumerate((4.0, 3.5)):
        lowered = plain - true_reward(how, WORLD, met(WORLD, [0], user=user), 0)
        assert lowered == pytest.approx(trait(user, "satiation", (0.0, 0.6)), abs=1e-4)


# -- drift


def tasting() -> Environment:
    """A world of two directions: the first user likes that of Alpha, and Beta's is another."""
    items = np.array([[400, 0], [0, 800], [-400, 0], [0, 0], [300, 300]], np.int16)
    factors = replace(WORLD.factors, users=np.array([[800, 80], [0, 0]], np.int16), items=items)
    return replace(WORLD, factors=factors)


@pytest.mark.parametrize(("item", "sign"), [(0, 1), (2, 1), (1, 1), (3, 0)])
def test_taste_turns_to_what_is_liked_and_away_from_the_rest(item: int, sign: int) -> None:
    """All the way in one step at a rate of 1, at its length; nothing has no direction."""
    world = tasting()
    moved = drift(met(world, [item]), world.factors, 1.0) + world.factors.users[0] * np.int64(256)
    length = np.hypot(800, 80) * 256
    ends = {0: [length, 0], 2: [length, 0], 1: [0, length], 3: [800 * 256, 80 * 256]}
    assert moved == pytest.approx(ends[item], rel=0.01, abs=300)
    assert (moved.tolist() != [800 * 256, 80 * 256]) == bool(sign)


def test_drift_raises_the_reward_of_the_like() -> None:
    world, how = tasting(), RewardSettings(satiation=(0.0, 0.0), drift=0.2)
    before, after = (true_reward(how, world, met(world, shown), 1) for shown in ([], [1, 1]))
    assert before < after
    assert true_reward(how, world, met(world, [0, 1], user=1), 4) == 3.5


# -- both


@given(user=st.integers(0, 499), earlier=visits, item=st.integers(0, 1_999), how=changing)
@settings(deadline=None, max_examples=60)
def test_one_reward_is_as_all_rewards(
    user: int, earlier: list[int], item: int, how: RewardSettings
) -> None:
    """Bit for bit: what the bound is told is what the user will answer."""
    visit = met(BIG, earlier, user=user)
    reward = true_reward(how, BIG, visit, item)
    assert reward == true_rewards(how, BIG, visit)[item]
    assert BIG.factors.low <= reward <= BIG.factors.high


def test_rewards_are_the_same_bytes_everywhere() -> None:
    how = RewardSettings(satiation=(0.0, 0.6), drift=0.05)
    rewards = [true_rewards(how, BIG, met(BIG, [*range(user)], user=user)) for user in range(50)]
    assert sha256(np.array(rewards).astype("<f8").tobytes()).hexdigest()[:16] == "bdb3b6696b5148a5"


def test_a_run_knows_them(tmp_path: Path) -> None:
    """They are in its head and in every response; the bound takes them into account."""
    how = {"satiation": [0.6, 0.6], "drift": 0.05}
    plain = recorded(tmp_path / "plain", agent="diverse-greedy")
    run = recorded(tmp_path / "run", agent="diverse-greedy", rewards=how)
    settings = dict(only(trace_of(run), RunStarted)[0].settings)
    assert (settings["rewards.satiation"], settings["rewards.drift"]) == ("0.6,0.6", 0.05)
    assert "rewards.recovery" not in settings
    rewards, others = (
        [r.reward for r in only(trace_of(one), UserResponded)] for one in (run, plain)
    )
    assert rewards != others
    assert replay(run.path).agrees
