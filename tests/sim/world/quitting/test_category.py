"""DORL's quit rule, held against a copy of what its code says."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.world.quitting.category import CATEGORY, CategorySettings
from tests.support.encounters import encounter, met, small_world

WORLD = small_world(categories=("A", "AB", "B", "C", ""))
LABELS = WORLD.catalog.categories


def leaving(how: CategorySettings, item: int, earlier: list[int]) -> bool:
    why = CATEGORY.why(how, encounter(WORLD, item, met(WORLD, earlier)))
    assert CATEGORY.bores(how, met(WORLD, earlier), item, WORLD) == (why == "category")
    return why is not None


def as_in_the_code(window: list[int], most: int, item: int) -> bool:
    count = Counter(name for shown in window for name in LABELS[shown])
    return any(count[name] > most for name in LABELS[item])


items = st.integers(0, len(LABELS) - 1)


@given(
    item=items, earlier=st.lists(items, max_size=9), size=st.integers(0, 7), most=st.integers(0, 3)
)
@settings(deadline=None)
def test_a_category_too_often_in_the_window(
    item: int, earlier: list[int], size: int, most: int
) -> None:
    """Of the last items; with the quirk of the slice, of those that the code looks at."""
    plain = CategorySettings(window=size, most=most)
    window = earlier[max(0, len(earlier) - size) :]
    assert leaving(plain, item, earlier) == as_in_the_code(window, most, item)
    quirk = CategorySettings(window=size, most=most, negative_slice=True)
    shown = len(earlier)
    sliced = earlier[shown - size : shown] if shown else []
    assert leaving(quirk, item, earlier) == as_in_the_code(sliced, most, item)


@pytest.mark.parametrize(("earlier", "leaves"), [([0], False), ([0, 1], True), ([0, 0, 2], True)])
def test_at_the_number_itself_a_category_is_borne(earlier: list[int], leaves: bool) -> None:
    assert leaving(CategorySettings(), 0, earlier) == leaves


@pytest.mark.parametrize("quirk", [False, True])
def test_nobody_leaves_at_the_first_item_or_for_no_category(quirk: bool) -> None:
    how = CategorySettings(most=0, negative_slice=quirk)
    assert not leaving(how, 0, [])
    assert not leaving(how, 4, [4, 4, 4])


def test_the_negative_slice_forgets_in_the_middle_of_the_window() -> None:
    """Of three items in a window of four only the last is looked at; of four all are."""
    how = CategorySettings(window=4, most=0, negative_slice=True)
    assert [leaving(how, 0, earlier) for earlier in ([0], [0, 3], [0, 3, 3], [0, 3, 3, 3])] == [
        *(True, True, False, True)
    ]
