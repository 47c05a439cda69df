"""The visits of one run beside those of another: who got more from which."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from sim.analysis.ledger import Ledger, Row

Key: TypeAlias = tuple[str, int, int, int]
"""(phase, user, session, which time): a test user comes once to every test."""

Measure: TypeAlias = Literal["r_traj", "len", "r_each"]


class PairedVisit(msgspec.Struct, frozen=True, kw_only=True):
    """A visit of *user* in two runs, its episode in each; None where it is in one only, or failed.

    *gap* is by how much more it got in the one.
    """

    user: int
    session: int
    phase: Literal["train", "test"]
    one: Row | None
    other: Row | None
    gap: float | None


def paired(one: Ledger, other: Ledger, measure: Measure = "r_traj") -> list[PairedVisit]:
    """Return all visits of two runs, those that are farthest apart first."""
    mine, theirs = dict(_keyed(one)), dict(_keyed(other))
    pairs = [_pair(key, mine.get(key), theirs.get(key), measure) for key in {**mine, **theirs}]
    return sorted(pairs, key=_order)


def value_of(row: Row, measure: Measure) -> float:
    """Return what a visit came to; r_each is the reward of a step."""
    if measure == "len":
        return float(row.length)
    if measure == "r_each":
        return row.reward / row.length if row.length else 0.0
    return row.reward


def _keyed(ledger: Ledger) -> Iterator[tuple[Key, Row]]:
    times: Counter[tuple[str, int, int]] = Counter()
    for row in ledger.rows():
        who = row.phase, row.user, row.session
        if row.end == "finished":
            yield (*who, times[who]), row
        times[who] += 1


def _pair(key: Key, one: Row | None, other: Row | None, measure: Measure) -> PairedVisit:
    return PairedVisit(
        user=key[1],
        session=key[2],
        phase="test" if key[0] == "test" else "train",
        one=one,
        other=other,
        gap=value_of(one, measure) - value_of(other, measure) if one and other else None,
    )


def _order(pair: PairedVisit) -> tuple[bool, float, int, int]:
    gap = pair.gap
    return gap is None, -abs(gap or 0.0), pair.user, pair.session
