"""BiLLP's quit rule, with its switches."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim.world.quitting.billp import QuitSettings, why_leave


@dataclass(frozen=True)
class Line:
    """Items on a line: near are those less than *beta* apart."""

    beta: int = 2

    def near(self, item: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
        assert others.dtype == np.int64
        near: NDArray[np.bool_] = np.abs(others - item) < self.beta
        return near


def leaving(
    item: int,
    reward: float,
    earlier: list[int],
    *,
    window: int = 4,
    lowest: float = 2.0,
    first_step: bool = True,
) -> str | None:
    settings = QuitSettings(window=window, lowest=lowest, first_step=first_step)
    return why_leave(settings, Line(), item, reward, earlier)


def test_a_user_stays_for_new_and_good_items() -> None:
    assert leaving(50, 5.0, [10, 20, 30]) is None


@pytest.mark.parametrize("place", range(4))
def test_an_item_like_a_recent_one_makes_users_leave(place: int) -> None:
    """Whichever of the last four it is."""
    earlier = [10, 20, 30, 40]
    assert leaving(earlier[place] + 1, 5.0, earlier) == "similar"


def test_an_item_at_the_distance_itself_is_not_like_it() -> None:
    assert leaving(12, 5.0, [10]) is None


def test_what_is_longer_ago_is_forgotten() -> None:
    """The window holds the newest items."""
    earlier = [10, 20, 30, 40, 50]
    assert leaving(10, 5.0, earlier) is None
    assert leaving(10, 5.0, earlier, window=5) == "similar"


def test_a_window_of_none_forgets_all() -> None:
    assert leaving(10, 5.0, [10, 10], window=0) is None


@pytest.mark.parametrize(("reward", "reason"), [(1.99, "reward"), (2.0, None)])
def test_a_reward_below_the_lowest_makes_users_leave(reward: float, reason: str | None) -> None:
    """The lowest reward itself is borne."""
    assert leaving(50, reward, [10]) == reason
    assert leaving(50, reward, []) == reason


def test_likeness_is_the_reason_that_comes_first() -> None:
    assert leaving(10, 1.0, [10]) == "similar"


def test_the_first_step_can_be_spared() -> None:
    """As in the authors' code: the first item never makes a user leave, the second may."""
    assert leaving(50, 1.0, [], first_step=False) is None
    assert leaving(50, 1.0, [10], first_step=False) == "reward"


@given(
    item=st.integers(0, 9),
    reward=st.floats(1, 5),
    earlier=st.lists(st.integers(0, 9), max_size=8),
    window=st.integers(0, 5),
)
@settings(deadline=None)
def test_only_the_window_counts(item: int, reward: float, earlier: list[int], window: int) -> None:
    """The reason is the same whatever stood before the last items."""
    recent = earlier[max(0, len(earlier) - window) :]
    whole = leaving(item, reward, earlier, window=window)
    assert whole == leaving(item, reward, recent, window=window)
    expected: str | None = "reward" if reward < 2 else None
    assert whole == ("similar" if any(abs(item - other) < 2 for other in recent) else expected)
