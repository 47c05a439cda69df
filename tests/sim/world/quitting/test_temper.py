"""KuaiSim's temper, with a rise of its own."""

import pytest

from sim.world.quitting.temper import TEMPER, TemperSettings, after, temper
from tests.support.encounters import encounter, met, small_world

WORLD = small_world()


def leaves(rewards: list[float], how: TemperSettings) -> bool:
    """Tell whether the user leaves at the last of *rewards*."""
    earlier = met(WORLD, [0] * (len(rewards) - 1), rewards[:-1])
    return TEMPER.why(how, encounter(WORLD, 0, earlier, reward=rewards[-1])) == "temper"


def test_bad_items_use_it_up() -> None:
    """From 10 by 2 at most: a temper of 1 is one to stay with, less is none."""
    how = TemperSettings()
    assert not leaves([1.0] * 4 + [2.0], how)  # 10 − 4·2 − 1 = 1
    assert leaves([1.0] * 4 + [1.9999], how)
    assert leaves([1.0] * 5, how)


def test_the_first_item_can_be_the_last() -> None:
    assert leaves([2.9], TemperSettings(initial=1.0))
    assert not leaves([3.0], TemperSettings(initial=1.0))


def test_good_items_restore_it_up_to_where_it_began() -> None:
    how = TemperSettings(initial=3.0)
    visit = met(WORLD, [0] * 4, [5.0, 1.5, 5.0, 5.0])
    assert temper(how, met(WORLD, [])) == temper(how, met(WORLD, [0], [5.0])) == 3.0
    assert temper(how, visit) == 3.0 - 1.5 + 0.5 + 0.5


@pytest.mark.parametrize("boost", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_without_a_rise_it_is_kuaisims(boost: float) -> None:
    """There temper changes by min(0, max(−2, boost − 2))."""
    how = TemperSettings(content=2.0, rise=0.0)
    assert after(how, 7.0, boost) == 7.0 + min(0.0, max(-2.0, boost - 2.0))
