"""Confidence sequences: intervals that may be looked at after every seed, and when to stop."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from engine.messages import number
from sim.analysis.seeds import FEW
from sim.analysis.statistics import Interval

SPREAD = 4.0
"""Variance of the effects that are looked for, in squared standard deviations of a seed."""

Verdict: TypeAlias = Literal["more", "less", "even", "undecided"]

_MEANING = {
    "more": "the first gets more",
    "less": "the second gets more",
    "even": "within the stated effect",
    "undecided": "undecided",
}


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """How much more *one* gets than *other* after so many *seeds*, and what is decided.

    The mean lies between *low* and *high* at every number of seeds at once (with 95 % for all pairs
    together); None while nothing can be said.
    """

    one: str
    other: str
    seeds: int
    mean: float
    low: float | None
    high: float | None
    verdict: Verdict

    @property
    def open(self) -> bool:
        """Whether nothing is decided yet."""
        return self.verdict == "undecided"

    def __str__(self) -> str:
        where = "[–]" if self.low is None else f"[{self.low:.4g}, {self.high:.4g}]"
        gap = f"{self.one} − {self.other}: {self.mean:.4g} {where} after {self.seeds} seeds"
        return f"{gap}, {_MEANING[self.verdict]}"


def sequence_interval(differences: ArrayLike, *, level: float = 0.95) -> Interval | None:
    """Return the interval after these *differences* of a sequence that covers at every length.

    The mixture t sequence for normal differences of unknown variance (Lai 1976; Wang & Ramdas 2023,
    arXiv 2310.03722, theorem 4.9, with c² = 1 ÷ SPREAD; Lindon et al. 2022, arXiv 2210.08589): with
    n numbers, r = 1 + n·SPREAD and k = (r ÷ α²)^(1/n), it is

        mean ± s·√((n − 1)/n · (k − 1)/(1 − k/r)),

    where the Bayes factor against the mean, with effects drawn from N(0, SPREAD) standard
    deviations, is 1/α. By Ville's inequality it exceeds that anywhere with a probability of at most
    α = 1 − *level*, so one may look after each number and stop for any reason. None while k ≥ r,
    and below five numbers, where differences that are not normal would mislead: of 20,000 nulls
    each, looked at 200 times, 2.9 % ever left out 0 if normal, 4.5 % if uniform, 1.6 % if Laplace,
    and 7.7 % if in two narrow heaps of equal weight.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    reach = reach_of(numbers.size, 1 - level)
    if reach is None:
        return None
    mean, spread = float(numbers.mean()), float(numbers.std(ddof=1))
    return Interval(mean - reach * spread, mean + reach * spread)


def reach_of(count: int, alpha: float) -> float | None:
    """Return how many standard deviations the sequence reaches after *count* numbers."""
    if count < FEW:
        return None
    ratio = 1 + count * SPREAD
    root = float((ratio / alpha**2) ** (1 / count))
    if root >= ratio:
        return None
    return sqrt((count - 1) / count * (root - 1) / (1 - root / ratio))


def decided(
    gaps: Mapping[tuple[str, str], Sequence[float]], *, effect: float | None = None
) -> tuple[Decision, ...]:
    """Return what can be said of each pair after these differences of seeds.

    A pair is decided when 0 is outside its interval, or all of it lies within ± *effect*. Several
    pairs share the 5 % between them (Bonferroni).
    """
    level = 1 - 0.05 / max(1, len(gaps))
    return tuple(_decision(*pair, differences, level, effect) for pair, differences in gaps.items())


def kept(before: Sequence[Decision], now: Sequence[Decision]) -> tuple[Decision, ...]:
    """Return the decisions of *now*, and those of *before* where they were made already.

    The sequence covers at every length at once, so that what was decided once is.
    """
    closed = {(decision.one, decision.other): decision for decision in before if not decision.open}
    return tuple(closed.get((decision.one, decision.other), decision) for decision in now)


def _decision(
    one: str, other: str, differences: Sequence[float], level: float, effect: float | None
) -> Decision:
    interval = sequence_interval(differences, level=level)
    return Decision(
        one=one,
        other=other,
        seeds=len(differences),
        mean=number(float(np.mean(differences))),
        low=None if interval is None else number(interval.low),
        high=None if interval is None else number(interval.high),
        verdict="undecided" if interval is None else _verdict(interval, effect),
    )


def _verdict(interval: Interval, effect: float | None) -> Verdict:
    if interval.low > 0:
        return "more"
    if interval.high < 0:
        return "less"
    if effect is not None and -effect <= interval.low and interval.high <= effect:
        return "even"
    return "undecided"
