"""How varied recommendations are: formulas over how often each item was recommended.

Counts are whole numbers, sums are by `math.fsum` or in integers: no order of anything shows.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from math import fsum, log2
from typing import TypeAlias

import numpy as np

from storage.catalog import Catalog
from storage.factors import UNIT, Factors

Unlikeness: TypeAlias = Callable[[Sequence[int]], float]
"""Returns how unlike at least two items are: the mean over their pairs."""


def entropy(counts: Counter[str]) -> float:
    """Return the Shannon entropy of *counts* in bits."""
    total = counts.total()
    return fsum(-n / total * log2(n / total) for n in counts.values())


def gini(counts: Counter[int], items: int) -> float:
    """Return the Gini coefficient of recommendations over a catalog of *items*.

    Σ (2i − n − 1) xᵢ ÷ (n Σ xᵢ) for the counts x₁ ≤ … ≤ xₙ, those of 0 among them: 0 if every item
    is recommended equally often, 1 − 1/n if one alone is (used for recommenders by Fleder and
    Hosanagar 2009, "Blockbuster culture's next rise or fall", Management Science 55(5)). It is high
    where there are fewer recommendations than items: compare runs of the same length.
    """
    never = items - len(counts)
    ranked = enumerate(sorted(counts.values()), never + 1)
    weighted = sum((2 * rank - items - 1) * count for rank, count in ranked)
    return weighted / max(1, items * counts.total())


def novelty(counts: Counter[int], catalog: Catalog) -> float:
    """Return the mean of −log₂ of an item's share of the training interactions, in bits.

    It is the self-information of Zhou et al. 2010 ("Solving the apparent diversity–accuracy dilemma
    of recommender systems", PNAS 107(10)) and the novelty of DORL (arXiv 2307.04571). Shares are
    add-one smoothed, which is a detail of ours: (interactions + 1) ÷ (all of them + items).
    """
    total = int(catalog.popularity.sum()) + len(catalog)
    met = catalog.popularity[list(counts)].tolist() if counts else []
    bits = (n * log2(total / (own + 1)) for n, own in zip(counts.values(), met, strict=True))
    return fsum(bits) / max(1, counts.total())


def dominating(catalog: Catalog) -> frozenset[str]:
    """Return the most popular categories that together cover 80 % of the training interactions.

    They are those of MCD, majority category domination, in DORL (arXiv 2307.04571). Details of
    ours: categories are ordered by the interactions with their items, then by name, and taken until
    80 % of the interactions are with an item of one of them; the last one taken is among them.
    Items without a category do not take part. (The authors' code leaves that last one out, and adds
    up shares of labels: where items have several, almost all would dominate.)
    """
    members, popularity = catalog.members, catalog.popularity
    met = {name: int(popularity[items].sum()) for name, items in members.items()}
    labelled = np.array([bool(names) for names in catalog.categories], dtype=np.bool_)
    total = int(popularity[labelled].sum())
    covered = np.zeros(len(catalog), dtype=np.bool_)
    reached, found = 0, []
    for name in sorted(met, key=lambda name: (-met[name], name)):
        if 5 * reached >= 4 * total:
            break
        found.append(name)
        fresh = members[name][~covered[members[name]]]
        reached += int(popularity[fresh].sum())
        covered[fresh] = True
    return frozenset(found)


def domination(counts: Counter[int], catalog: Catalog, names: frozenset[str]) -> float:
    """Return the share of recommendations that have one of the categories *names*."""
    categories = catalog.categories
    within = sum(n for item, n in counts.items() if not names.isdisjoint(categories[item]))
    return within / max(1, counts.total())


def unlikeness(catalog: Catalog, factors: Factors | None) -> Unlikeness:
    """Return how to measure intra-list diversity: 1 − similarity, the mean over pairs of items.

    (Ziegler et al. 2005, "Improving recommendation lists through topic diversification", WWW; Zhang
    and Hurley 2008, "Avoiding monotony", RecSys.) Which similarity is for us to say: the cosine of
    the items' places if *factors* know them, else the Jaccard index of their categories.
    """
    if factors is not None:
        return lambda items: spread(factors, items)
    return lambda items: variety(catalog, items)


def spread(factors: Factors, items: Sequence[int]) -> float:
    """Return the mean over pairs of *items* of 1 − cosine of their places, 0 … 2.

    Places are unit vectors, so cos = 1 − d²/2 with the distance d of `Factors.distance_squared`.
    The sum of d² is exact, in integers; the division is the one rounding.
    """
    # Σ |aᵢ − aⱼ|² over pairs is n Σ |aᵢ|² − |Σ aᵢ|²: no matrix of distances is needed.
    places = factors.places[list(items)].astype(np.int64)
    count, centre = len(places), places.sum(axis=0)
    squared = count * int((places * places).sum()) - int(centre @ centre)
    return squared / (count * (count - 1) * UNIT**2)


def variety(catalog: Catalog, items: Sequence[int]) -> float:
    """Return the mean over pairs of *items* of 1 − Jaccard index of their categories, 0 … 1.

    An item is like itself; two items of which one has no category have nothing in common.
    """
    sets = {item: frozenset(catalog.categories[item]) for item in items}
    apart = [
        0.0 if one == other else 1 - _jaccard(sets[one], sets[other])
        for one, other in combinations(items, 2)
    ]
    return fsum(apart) / len(apart)


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, len(one | other))
