"""Likeness of keys: exact where it says so, and always the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.messages import number
from engine.records import UNIT, Vector
from storage.index import LONGEST, Hit, VectorLog, cover, nearest

BLOCK = 16
SMALL = settings(max_examples=40, deadline=None)


def keys(count: int, *, dimensions: int = 8, kinds: int = 1_000, seed: int = 0) -> NDArray[np.int8]:
    """Return *count* keys of at most *kinds* kinds."""
    stream = np.random.default_rng(seed)
    centres = stream.standard_normal((kinds, dimensions))
    centres *= UNIT / np.linalg.norm(centres, axis=1, keepdims=True)
    return np.rint(centres[stream.integers(0, kinds, count)]).astype(np.int8)


def grown(vectors: NDArray[np.int8], block: int = BLOCK) -> VectorLog:
    log = VectorLog(block, largest=4)
    for vector in vectors:
        log.append(vector)
    return log


def by_hand(vectors: NDArray[np.int8], vector: Vector, k: int) -> list[Hit]:
    """Return the nearest by Python's integers and one square root."""
    numbers = vector.tolist()
    hits = []
    for position, other in enumerate(vectors.tolist()):
        dot = sum(a * b for a, b in zip(numbers, other, strict=True))
        squares = sum(a * a for a in numbers) * sum(b * b for b in other)
        hits.append((number(1 - dot / squares**0.5), position))
    return sorted(hits)[:k]


@SMALL
@given(
    count=st.integers(1, 200),
    k=st.integers(1, 9),
    kinds=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_short_stretches_are_searched_exactly(count: int, k: int, kinds: int, seed: int) -> None:
    """Equal distances fall to the lower position, however many there are."""
    vectors = keys(count, dimensions=3, kinds=kinds, seed=seed)
    log = grown(vectors, block=512)
    query = keys(1, dimensions=3, seed=seed + 1)[0]
    assert log.nearest(0, count, query, k) == by_hand(vectors, query, k)
    assert nearest(vectors, query, k) == by_hand(vectors, query, k)


@SMALL
@given(data=st.data(), kinds=st.integers(1, 200), seed=st.integers(0, 99))
def test_growth_leaves_no_mark_on_a_search(data: st.DataObject, kinds: int, seed: int) -> None:
    """A stretch is answered alike while the log grows, afterwards, and by another log."""
    vectors = keys(300, kinds=kinds, seed=seed)
    queries = keys(12, seed=seed + 1)
    stops = sorted(data.draw(st.lists(st.integers(0, 300), min_size=12, max_size=12)))
    starts = [data.draw(st.integers(0, stop)) for stop in stops]
    growing = VectorLog(BLOCK, largest=4)
    live = []
    for start, stop, query in zip(starts, stops, queries, strict=True):
        for vector in vectors[len(growing) : stop]:
            growing.append(vector)
        live.append(growing.nearest(start, stop, query, 3))
    whole = VectorLog(BLOCK, largest=4)
    whole.extend(vectors)
    asked = list(zip(starts, stops, queries, strict=True))
    later = [whole.nearest(start, stop, query, 3) for start, stop, query in reversed(asked)]
    assert live == later[::-1]


@SMALL
@given(kinds=st.integers(1, 40), seed=st.integers(0, 99))
def test_small_blocks_find_every_equal_vector(kinds: int, seed: int) -> None:
    """A graph holds distinct vectors only, so that twins do not hide what else is near."""
    vectors = keys(160, kinds=kinds, seed=seed)
    log = grown(vectors)
    query = vectors[seed]
    assert log.nearest(0, 160, query, 5) == by_hand(vectors, query, 5)


@given(start=st.integers(0, 5_000), length=st.integers(0, 5_000))
def test_parts_cover_a_stretch_without_gaps(start: int, length: int) -> None:
    parts = list(cover(start, start + length, 16, 256))
    edges = [start, *(stop for _, stop, _ in parts)]
    assert [first for first, _, _ in parts] == edges[:-1]
    assert edges[-1] == start + length


@given(start=st.integers(0, 5_000), length=st.integers(0, 5_000))
def test_exact_parts_stay_short(start: int, length: int) -> None:
    parts = list(cover(start, start + length, 16, 256))
    exact = [last - first for first, last, whole in parts if not whole]
    assert len(exact) <= 2
    assert sum(exact) < 3 * 16


@given(start=st.integers(0, 5_000), length=st.integers(0, 5_000))
def test_blocks_are_aligned_and_well_behind_the_end(start: int, length: int) -> None:
    """Any stretch shares them, and there was time to build them."""
    stop = start + length
    blocks = [(a, b, b - a) for a, b, whole in cover(start, stop, 16, 256) if whole]
    assert all(first % size == 0 for first, _, size in blocks)
    assert all(last + max(16, size / 4) <= stop for _, last, size in blocks)


@given(length=st.integers(0, 100_000))
def test_blocks_are_few(length: int) -> None:
    blocks = [part for part in cover(0, length, 16, 256) if part[2]]
    assert len(blocks) <= length // 256 + 6


@pytest.mark.parametrize("k", [1, 3, 40])
def test_parallel_vectors_rank_by_position(k: int) -> None:
    """They differ in the last digit of float32, but not in the six that count."""
    direction = np.array([1, 2, 3, 4], np.int8)
    log = grown(np.array([direction * n for n in (7, *range(20, 0, -1), *range(1, 20))]), block=64)
    hits = log.nearest(0, 40, np.array([3, 1, 4, 1], np.int8), k)
    assert [position for _, position in hits] == list(range(k))


def test_a_vector_is_at_no_distance_from_itself() -> None:
    vectors = keys(50)
    log = grown(vectors)
    assert [log.nearest(0, 50, vector, 1)[0] for vector in vectors[:9]] == [
        (0.0, n) for n in range(9)
    ]


def test_graphs_return_exact_products() -> None:
    """The inner product of int8 is an integer that float32 holds, so graphs are reproducible."""
    vectors = keys(200, dimensions=256)
    log = VectorLog(64)
    log.extend(vectors)
    query = keys(1, dimensions=256, seed=1)[0]
    assert set(log.nearest(0, 200, query, 9)) <= set(by_hand(vectors, query, 200))


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(8, np.int8),
        np.full(8, LONGEST // 2, np.int8),
        np.ones(7, np.int8),
        np.ones(8, np.float32),
    ],
)
def test_what_is_no_key_is_refused(vector: Vector) -> None:
    """Longer vectors would not be exact in float32, a null vector is like nothing."""
    log = grown(keys(3))
    with pytest.raises(ValueError, match="key"):
        log.append(vector)
    assert len(log) == 3


def test_nothing_is_nearest_to_nothing() -> None:
    assert nearest(keys(0), keys(1)[0], 3) == nearest(keys(3), keys(1)[0], 0) == []
    with pytest.raises(ValueError, match="longer than 0"):
        nearest(np.zeros((2, 8), np.int8), keys(1)[0], 1)


@pytest.mark.slow
def test_a_hundred_thousand_vectors_are_found_again() -> None:
    """Blocks at their real size find what is nearest nearly always."""
    vectors = keys(100_000, dimensions=64, kinds=50_000)
    log = VectorLog()
    log.extend(vectors)
    found = [log.nearest(0, 100_000, vectors[n], 1)[0][0] for n in range(0, 100_000, 1_000)]
    assert found.count(0.0) >= 99
