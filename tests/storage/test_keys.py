"""Keys that are kept once: a search finds what one over all records would."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage.index import BLOCK, VectorLog
from storage.keys import KeyLog

KEYS = np.array([[90, 90], [127, 0], [0, 127], [90, -90], [-127, 0], [120, 40]], np.int8)
drawn = st.lists(st.integers(0, len(KEYS) - 1), min_size=1, max_size=60)


def logs(numbers: list[int]) -> tuple[KeyLog, VectorLog]:
    once, whole = KeyLog(BLOCK), VectorLog(BLOCK)
    for number in numbers:
        once.append(KEYS[number])
        whole.append(KEYS[number])
    return once, whole


@given(numbers=drawn, data=st.data(), asked=st.integers(0, 5), k=st.integers(0, 20))
def test_the_nearest_records_are_those_of_a_whole_log(
    numbers: list[int], data: st.DataObject, asked: int, k: int
) -> None:
    """Of any stretch, ties included: those of equal distance, oldest first."""
    once, whole = logs(numbers)
    start = data.draw(st.integers(0, len(numbers)))
    stop = data.draw(st.integers(start, len(numbers)))
    expected = whole.nearest(start, stop, KEYS[asked], k)
    assert once.nearest(start, stop, KEYS[asked], k) == expected


@given(numbers=drawn, data=st.data(), asked=st.integers(0, 5), k=st.integers(1, 8))
def test_like_keys_come_with_all_their_records(
    numbers: list[int], data: st.DataObject, asked: int, k: int
) -> None:
    """Each key of a stretch once, with the positions of all its records there, oldest first."""
    once, whole = logs(numbers)
    start = data.draw(st.integers(0, len(numbers)))
    stop = data.draw(st.integers(start, len(numbers)))
    found = once.alike(start, stop, KEYS[asked], k)
    by_key: dict[int, list[int]] = {}
    for position in range(start, stop):
        by_key.setdefault(numbers[position], []).append(position)
    order = [number for _, number in whole.nearest(start, stop, KEYS[asked], len(numbers))]
    firsts = [place for place in order if place == by_key[numbers[place]][0]]
    expected = [by_key[numbers[place]] for place in firsts[:k]]
    assert [[*likeness.positions] for likeness in found] == expected


@given(numbers=drawn)
def test_keys_read_as_they_were_written(numbers: list[int]) -> None:
    once, _ = logs(numbers)
    rows: NDArray[np.int8] = once.rows()
    assert (rows == KEYS[numbers]).all()
    assert all((once[place] == KEYS[number]).all() for place, number in enumerate(numbers))


@given(numbers=drawn, asked=st.integers(0, 5), k=st.integers(1, 8))
def test_a_search_that_is_repeated_finds_the_same(numbers: list[int], asked: int, k: int) -> None:
    """Whatever was appended meanwhile; a longer stretch is another search."""
    once, whole = logs(numbers)
    found = once.nearest(0, len(numbers), KEYS[asked], k)
    for log in (once, whole):
        log.append(KEYS[asked])
    assert once.nearest(0, len(numbers), KEYS[asked], k) == found
    longer = whole.nearest(0, len(numbers) + 1, KEYS[asked], k)
    assert once.nearest(0, len(numbers) + 1, KEYS[asked], k) == longer


def test_only_the_last_searches_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were forgotten find what they did before."""
    monkeypatch.setattr("storage.keys._REMEMBERED", 2)
    once, whole = logs([*range(len(KEYS))])
    for key in (*KEYS, *KEYS):
        assert once.nearest(0, 6, key, 2) == whole.nearest(0, 6, key, 2)
    assert len(once._found) == 2
