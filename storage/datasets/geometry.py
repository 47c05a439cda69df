"""Where items stand: unit factors mixed with unit category vectors, in integers throughout.

Raw distances between factors are an artefact of popularity, and unit factors alone ignore the
categories; the mix has neither fault. Everything here is exact, hence the same on every processor.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from storage.datasets.draws import words
from storage.factors import UNIT

CATEGORY_LIMIT = 256
"""Only so many categories, the most frequent, take part: places must not grow with a tag cloud."""

ALL_PAIRS = 2_000
"""Up to so many items the quantile of distances is taken over all pairs."""

SAMPLED_PAIRS = 2_000_000
_BLOCK = 4_096  # pairs whose steps stay near the processor
_ITEMS = 8_192


def places_of(
    factors: NDArray[np.int16], categories: Sequence[Sequence[str]], weight: float
) -> NDArray[np.int16]:
    """Return √(1−*weight*) · unit factors beside √*weight* · unit category vectors, one row each.

    Rows have length `UNIT`. An item without categories stands where its factors say alone, and one
    without factors where its categories say, so that what is unknown makes nobody alike.
    """
    share = round(weight * UNIT)
    weights = category_weights(categories)
    places = np.empty((len(factors), factors.shape[1] + max(len(weights), 1)), dtype=np.int16)
    # What is mixed takes four times the room of what comes of it, several times over.
    for start in range(0, len(factors), _ITEMS):
        some = slice(start, start + _ITEMS)
        vectors = category_vectors(categories[some], weights)
        places[some] = _mixed(factors[some].astype(np.int64), vectors, share)
    return places


def _mixed(factors: NDArray[np.int64], vectors: NDArray[np.int64], share: int) -> NDArray[np.int64]:
    first, second = unit(factors), unit(vectors)
    has_first, has_second = first.any(axis=1), second.any(axis=1)
    shares = np.where(has_first, np.where(has_second, share, 0), UNIT)
    near, far = roots((UNIT - shares) * UNIT), roots(shares * UNIT)
    return np.hstack([first * near[:, None], second * far[:, None]]) // UNIT


def category_weights(categories: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return log₂(items ÷ members) in 64ths of each category that takes part, largest first."""
    count = Counter(name for names in categories for name in names)
    names = sorted(count, key=lambda name: (-count[name], name))[:CATEGORY_LIMIT]
    return {name: _rarity(len(categories), count[name]) for name in names}


def category_vectors(
    categories: Sequence[Sequence[str]], weights: Mapping[str, int]
) -> NDArray[np.int64]:
    """Return a row for each item: the weight of each category that it is in, else 0."""
    column = {name: position for position, name in enumerate(weights)}
    vectors = np.zeros((len(categories), max(len(weights), 1)), dtype=np.int64)
    for item, own in enumerate(categories):
        for name in own:
            if name in column:
                vectors[item, column[name]] = weights[name]
    return vectors


def _rarity(items: int, members: int) -> int:
    """Return 64 · log₂(*items* ÷ *members*), at least 1, by the length of a whole number."""
    return max((items**64 // members**64).bit_length() - 1, 1)


def unit(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return *rows* (below 2**16) scaled to length `UNIT`; rows of zeros stay as they are."""
    lengths = roots(np.einsum("ij,ij->i", rows, rows) << 12)  # in 64ths
    return ((rows * UNIT) << 6) // np.maximum(lengths, 1)[:, None]


def roots(squares: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the whole part of the square root of each of *squares* (below 2**62)."""
    guess = np.sqrt(squares.astype(np.float64)).astype(np.int64)
    # The root of a float64 may be off by one, either way.
    guess -= guess * guess > squares
    guess += (guess + 1) * (guess + 1) <= squares
    return guess


def beta_squared(places: NDArray[np.int16], quantile: float, seed: int) -> int:
    """Return the *quantile* of the squared distances of two different items, at least 1.

    So an item is always near to itself.
    """
    squared = distances_squared(places, seed)
    if not len(squared):
        return 1
    rank = min(int(quantile * len(squared)), len(squared) - 1)
    return max(int(np.partition(squared, rank)[rank]), 1)


def distances_squared(places: NDArray[np.int16], seed: int) -> NDArray[np.int64]:
    """Return the squared distances of pairs of different items.

    All pairs are taken where they are few, else 2,000,000 that depend on *seed* alone.
    """
    firsts, seconds = _pairs(len(places), seed)
    squared = np.empty(len(firsts), dtype=np.int64)
    for start in range(0, len(firsts), _BLOCK):
        block = slice(start, start + _BLOCK)
        steps = places.take(firsts[block], axis=0).astype(np.int32)
        steps -= places.take(seconds[block], axis=0)
        squared[block] = np.einsum("ij,ij->i", steps, steps, dtype=np.int64)
    return squared


def _pairs(items: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if items <= ALL_PAIRS:
        firsts, seconds = np.triu_indices(items, k=1)
        return firsts.astype(np.int64), seconds.astype(np.int64)
    drawn = words(seed, "pairs", 2 * SAMPLED_PAIRS).reshape(2, SAMPLED_PAIRS)
    firsts = (drawn[0] % np.uint64(items)).astype(np.int64)
    # A step of at least 1, so that no item is paired with itself.
    apart = 1 + (drawn[1] % np.uint64(items - 1)).astype(np.int64)
    return firsts, (firsts + apart) % items
