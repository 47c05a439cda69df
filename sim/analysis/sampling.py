"""Which episodes of a run are worth a look: the worst, the best, and some evenly between."""

from collections.abc import Iterable, Iterator
from heapq import nlargest, nsmallest
from typing import Literal, TypeAlias

import msgspec

from sim.analysis.ledger import Ledger, Row

Why: TypeAlias = Literal["failed", "worst", "best", "evenly"]


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """An episode of a sample, and *why* it is in it."""

    episode: int
    why: Why


def sample(ledger: Ledger, count: int) -> tuple[Sampled, ...]:
    """Return at most *count* episodes, each once, in their order in the run.

    One that failed, if any did; of the others two thirds are the worst and the best by their
    reward, and the rest lie evenly over the run. The same trace gives the same sample.
    """
    chosen: dict[int, Why] = {}
    for episode, why in _wanted(ledger, count):
        if len(chosen) < count:
            chosen.setdefault(episode, why)
    return tuple(Sampled(episode=episode, why=chosen[episode]) for episode in sorted(chosen))


def _wanted(ledger: Ledger, count: int) -> Iterator[tuple[int, Why]]:
    finished = [row for row in ledger.rows() if row.end == "finished"]
    failed = next((row.episode for row in ledger.rows() if row.end == "failed"), None)
    if failed is not None:
        yield failed, "failed"
    side = -(-count // 3)
    worst = nsmallest(side, finished, key=_by_reward)
    best = nlargest(side, finished, key=_by_reward)
    for bad, good in zip(worst, best, strict=True):
        yield bad.episode, "worst"
        yield good.episode, "best"
    for row in _evenly(finished, count):
        yield row.episode, "evenly"


def _by_reward(row: Row) -> tuple[float, int]:
    return row.reward, row.episode


def _evenly(rows: list[Row], count: int) -> Iterable[Row]:
    return rows[:: -(-len(rows) // count)] if rows and count else ()
