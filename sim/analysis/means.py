"""Means, groups and pairs: the numbers of a comparison."""

import msgspec

from sim.analysis.statistics import Interval


class SeedMean(msgspec.Struct, frozen=True, kw_only=True):
    """The mean over users under one *seed*."""

    seed: int
    value: float


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of the seeds' means *by_seed*, and where it may lie.

    *low* and *high* say where with other seeds, which are other trainings: a t interval, None of
    one seed. *users* says where with other users, for these trained memories only: a bootstrap.
    """

    mean: float
    low: float | None
    high: float | None
    users: Interval
    by_seed: tuple[SeedMean, ...]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that differ by their seeds only: how many visits they are judged by, and their means.

    A user's visits under one seed are averaged; r_each is, under each seed, all rewards ÷ all steps
    whose reward is known.
    """

    label: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    visits: int
    failed: int
    means: dict[str, Mean]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """How much more *one* gets than *other*, over the visits in both, a user's visits averaged.

    For r_each a visit counts with its own rewards ÷ steps whose reward is known, 0 if there is
    none. The groups' means put all visits together, and may be apart by something else.

    Of seeds: *p* is that of the paired t test, *p_holm* adjusted for all pairs (Holm 1979), and
    *p_signs*, so adjusted, that of the sign flip; None of one seed. Of users, for these trained
    memories only: *p_users* is that of their sign flip, adjusted, *effect* Cohen's d of their
    differences, and *better* the share of them who got more, ties half.
    """

    one: str
    other: str
    visits: int
    missing: int
    difference: Mean
    p: float | None
    p_holm: float | None
    p_signs: float | None
    p_users: float
    effect: float
    better: float
