"""What twice as much data costs: run with `pytest tests/bench/test_bench_scale.py -s`.

Of each the least processor time of some turns with so many items and with twice as many, in one
run: what is quadratic takes four times as long.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from sim.metrics.diversity import dominating
from storage.catalog import Catalog, distinct_titles
from storage.datasets.draws import bells, integers
from storage.datasets.fitting import Ratings, fit
from storage.datasets.geometry import places_of

ITEMS = 4_000
TURNS = 5
MOST = 2.9


def catalog(count: int) -> Catalog:
    """Return a catalog in which every second item has a category of its own."""
    titles = tuple(f"title {item}" for item in range(count))
    categories = tuple((f"group {item % 7}", f"author {item // 2}") for item in range(count))
    return Catalog(titles, categories, integers(0, "popularity", count, 50))


def ratings(count: int) -> Ratings:
    """Return thirty ratings an item, of as many users as there are items."""
    users, items = (integers(0, side, 30 * count, count) for side in ("users", "items"))
    values = integers(0, "values", len(users), 5).astype(np.float64)
    return Ratings(users, items, values, (count, count))


def called_alike(count: int) -> Callable[[], object]:
    return lambda: distinct_titles(["Untitled"] * count)


def dominant(count: int) -> Callable[[], object]:
    known = catalog(count)
    return lambda: dominating(known)


def mixed(count: int) -> Callable[[], object]:
    factors, known = bells(0, "factors", (count, 32), 1_000).astype(np.int16), catalog(count)
    return lambda: places_of(factors, known.categories, 0.4)


def fitted(count: int) -> Callable[[], object]:
    known = ratings(count // 4)
    return lambda: fit(known, 8, 0)


def seconds(call: Callable[[], object]) -> float:
    """Return what a call takes of the processor at best, after one that is not counted."""
    call()
    best = float("inf")
    for _ in range(TURNS):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize("made", [called_alike, dominant, mixed, fitted])
def test_twice_as_much_costs_about_twice(made: Callable[[int], Callable[[], object]]) -> None:
    once, twice = seconds(made(ITEMS)), seconds(made(2 * ITEMS))
    name = made.__name__
    sys.stdout.write(f"\n{name}: {once * 1e3:.2f} ms, of twice as much {twice / once:.2f} times\n")
    assert twice / once < MOST
