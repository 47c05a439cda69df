"""What recalls cost: run with `pytest tests/bench -s`; a million records with `-m slow`.

Times are printed beside that of one bare matrix–vector product in the same run, since machines and
their load differ.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.records import UNIT, MemoryName, Record
from storage.memory import Memory

DIMENSIONS = 256
BARE = 5_000  # rows of the product that times are compared with
QUERIES = 100
KINDS = 500


class Note(msgspec.Struct, frozen=True):
    value: float


NOTES = MemoryName("notes", Note)


def keys(count: int, *, seed: int = 1) -> Iterator[NDArray[np.int8]]:
    """Yield *count* keys in clusters, as those of states are."""
    centres = np.random.default_rng(0).standard_normal((KINDS, DIMENSIONS))
    stream = np.random.default_rng(seed)
    for start in range(0, count, 5_000):
        size = min(5_000, count - start)
        rows = centres[stream.integers(0, KINDS, size)] * 0.8
        rows += stream.standard_normal(rows.shape)
        rows *= UNIT / np.linalg.norm(rows, axis=1, keepdims=True)
        yield from np.rint(rows).astype(np.int8)


def filled(count: int) -> Memory[Note]:
    memory = Memory(NOTES)
    for position, key in enumerate(keys(count)):
        memory.append(Record(position, key, Note(position / 7)))
    return memory


def seconds(call: Callable[[], object], times: int) -> float:
    """Return how long a call takes at best, so that others on the machine count less."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def bare_product() -> float:
    rows = np.ones((BARE, DIMENSIONS), np.float32)
    return seconds(lambda: rows @ rows[0], 300)


def typical(memory: Memory[Note], k: int) -> float:
    """Return the median time of a recall from the whole memory."""
    view = memory.view(len(memory))
    queries = list(keys(QUERIES, seed=2))
    view.recall(queries[0], k)
    return float(np.median([seconds(partial(view.recall, query, k), 5) for query in queries]))


def report(memory: Memory[Note]) -> float:
    """Print what recalls cost; return the dearest as a multiple of the bare product."""
    bare = bare_product()
    costs = {k: typical(memory, k) for k in (1, 5)}
    text = ", ".join(f"k={k} {cost * 1e6:.0f} µs = {cost / bare:.1f}×" for k, cost in costs.items())
    sys.stdout.write(
        f"\n{len(memory):>9,} records: {text}; {BARE:,} rows bare: {bare * 1e6:.0f} µs\n"
    )
    return max(costs.values()) / bare


@pytest.mark.parametrize(("count", "most"), [(1_000, 10), (5_000, 10), (20_000, 40)])
def test_recall_is_cheap(count: int, most: float) -> None:
    assert report(filled(count)) < most


def test_recall_among_a_hundred_thousand() -> None:
    """Aim: 1 ms where the bare product takes about 40 µs."""
    assert report(filled(100_000)) < 60


def test_appending_is_cheap() -> None:
    rows = list(keys(20_000))
    memory = Memory(NOTES)
    start = time.perf_counter()
    for position, key in enumerate(rows):
        memory.append(Record(position, key, Note(0.0)))
    spent = (time.perf_counter() - start) / len(rows)
    sys.stdout.write(f"\nappend: {spent * 1e6:.1f} µs\n")
    assert spent < 10 * bare_product()


@pytest.mark.slow
def test_a_million_records_fit() -> None:
    """Aim: less than 2.5 GB in all, with every block ever built."""
    memory = filled(1_000_000)
    report(memory)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(f"peak of this process: {peak / 1e6:.2f} GB\n")
    assert peak < 2_500_000
