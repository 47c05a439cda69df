"""`sim.runs.excerpts`: a log as it would be without one record."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from engine.records import MemoryName, Record, Vector, View
from sim.runs.excerpts import Without
from storage.memory import Memory


class Note(msgspec.Struct, frozen=True):
    """What a record says."""

    text: str


def key(*numbers: int) -> Vector:
    return np.array([*numbers, 0], dtype=np.int8)


# Two of one key, then one a little off, then one at right angles.
KEYS = {"a": key(127, 0), "b": key(127, 0), "c": key(120, 40), "d": key(0, 127)}


def without(position: int, capacity: int | None = None) -> View[Note]:
    memory = Memory(MemoryName("notes", Note), capacity=capacity)
    for n, (text, vector) in enumerate(KEYS.items()):
        memory.append(Record(n, vector, Note(text)))
    return Without(memory, position).view(len(memory) - 1)


def texts(view: View[Note], positions: Sequence[int]) -> list[str]:
    return [view[position].payload.text for position in positions]


@pytest.mark.parametrize(("position", "left"), [(0, "bcd"), (1, "acd"), (3, "abc")])
def test_those_after_it_move_up(position: int, left: str) -> None:
    view = without(position)
    assert len(view) == 3
    assert "".join(texts(view, range(3))) == left


def test_nothing_takes_its_place_in_what_is_recalled() -> None:
    """Of the two nearest one is left; the third nearest was never told."""
    view = without(0)
    assert [one.record.payload.text for one in view.recall(key(127, 0), 2)] == ["b"]
    assert texts(view, [one.position for one in view.recall(key(127, 0), 3)]) == ["b", "c"]


def test_a_key_that_is_left_with_no_record_is_gone() -> None:
    found = without(2).alike(key(127, 0), 2)
    assert [list(like.positions) for like in found] == [[0, 1]]
    assert [list(like.positions) for like in without(1).alike(key(127, 0), 2)] == [[0], [1]]


def test_what_was_forgotten_stays_forgotten() -> None:
    """Of a memory of the last two records one is left."""
    view = without(3, capacity=2)
    assert texts(view, range(view.start, len(view))) == ["c"]
