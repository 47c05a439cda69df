"""Agents side by side: what each user got from each, how far they are apart, and how sure that is.

Runs are grouped by all that decides them but the seed; the runs of a group are its seeds. Two
groups are compared user by user, under the same seeds, so that what users and seeds have in common
cancels out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.messages import RunStarted, Setting, number
from sim.outcomes import Outcome, RunOutcomes, Who, read_outcomes
from sim.statistics import (
    Interval,
    effect_size,
    holm,
    mean_interval,
    paired_interval,
    sign_flip_p,
    superiority,
)

Measure: TypeAlias = Literal["r_traj", "len", "r_each"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
Table: TypeAlias = NDArray[np.float64]

_RESAMPLES = 10_000


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over users and seeds, and where it may lie."""

    mean: float
    low: float
    high: float


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that differ by their seeds only: how many visits they are judged by, and their means."""

    label: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    visits: int
    failed: int
    means: dict[str, Mean]


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """How much more *one* gets than *other*, over the visits in both.

    *p* is two-sided, of a permutation of signs; *p_holm* is adjusted for all pairs (Holm 1979).
    *effect* is Cohen's d of the differences, *better* the share of users who got more, ties half.
    """

    one: str
    other: str
    visits: int
    missing: int
    difference: Mean
    p: float
    p_holm: float
    effect: float
    better: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Groups and pairs, by one *measure*; *mode* says under which rules all of them were run."""

    measure: Measure
    environment: str
    mode: dict[str, Setting]
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


MODE = ("repeats", "quit.first_step", "quit.window", "test_memory", "test_episodes", "limit")
"""Settings that confound comparisons, and stand above each of them."""


def compare(
    runs: Sequence[Path | str],
    *,
    measure: Measure = "r_traj",
    reference: str | None = None,
    every_pair: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare recorded *runs*: each group with the *reference*, or *every_pair* of groups.

    The reference is the first group unless it is named; *seed* is that of the resampling. Raises
    ConfigError for runs that cannot be compared, and what reading a run raises.
    """
    read = [read_outcomes(run) for run in runs]
    check_comparable(read)
    groups = grouped(read)
    tables = _Tables(groups, measure)
    named = list(groups)
    pairs = _pairs(named, reference, every_pair=every_pair)
    compared = [tables.pair(one, other, seed) for one, other in pairs]
    adjusted = holm([pair.p for pair in compared]).tolist() if compared else []
    return Comparison(
        measure=measure,
        environment=read[0].head.environment,
        mode=_mode(read),
        groups=tuple(_group(label, members, seed) for label, members in groups.items()),
        pairs=tuple(
            msgspec.structs.replace(pair, p_holm=number(p))
            for pair, p in zip(compared, adjusted, strict=True)
        ),
        notes=tuple(_notes(read, compared)),
    )


def check_comparable(read: Sequence[RunOutcomes]) -> None:
    """Raise ConfigError if the runs are not of one environment, or nothing can be said of one."""
    if not read:
        raise ConfigError("nothing to compare", hint="name at least one run directory")
    first = read[0]
    for other in read[1:]:
        if other.head.environment != first.head.environment:
            one, two = first.head.environment[:12], other.head.environment[:12]
            raise ConfigError(
                f"runs in different environments cannot be compared: {first.path} is in {one}, "
                f"{other.path} in {two}"
            )
    for run in read:
        if not run.judged:
            raise ConfigError(f"{run.path}: no episode of it has ended")
    tested = {bool(run.tests) for run in read}
    if len(tested) > 1:
        raise ConfigError(
            "runs with test users and runs without cannot be compared",
            hint="set test_episodes in all of them",
        )


def grouped(read: Sequence[RunOutcomes]) -> dict[str, dict[int, RunOutcomes]]:
    """Return the runs by the label of their group and their seed."""
    deciding = [_deciding(run.head) for run in read]
    names = {name for settings in deciding for name in settings}
    differing = {n for n in names if len({settings.get(n) for settings in deciding}) > 1}
    groups: dict[str, dict[int, RunOutcomes]] = {}
    for run, settings in zip(read, deciding, strict=True):
        own = [run.head.agent, *(f"{name}={settings.get(name)}" for name in sorted(differing))]
        members = groups.setdefault(" ".join(own), {})
        if run.head.seed in members:
            raise ConfigError(
                f"{run.path}: {run.head.agent} with seed {run.head.seed} is there twice",
                hint="runs of a group must have seeds of their own",
            )
        members[run.head.seed] = run
    return groups


def _deciding(head: RunStarted) -> dict[str, Setting]:
    forks = {"forks": str(head.forks)} if head.forks else {}
    return {"model": head.model, **dict(head.settings), **forks}


def _mode(read: Sequence[RunOutcomes]) -> dict[str, Setting]:
    """Return the rules that all runs have in common."""
    heads = [dict(run.head.settings) for run in read]
    same = {name: {head.get(name) for head in heads} for name in MODE}
    shown = {name: values.pop() for name, values in same.items() if len(values) == 1}
    return {name: value for name, value in shown.items() if value is not None}


def _pairs(
    labels: Sequence[str], reference: str | None, *, every_pair: bool
) -> Iterable[tuple[str, str]]:
    if every_pair:
        return list(combinations(labels, 2))
    first = labels[0] if reference is None else reference
    if first not in labels:
        raise ConfigError(
            f"there is no group {first!r}", hint=f"there are {', '.join(map(repr, labels))}"
        )
    return [(first, other) for other in labels if other != first]


@dataclass(frozen=True)
class _Tables:
    """Values of visits as tables of shape (seeds, users)."""

    groups: Mapping[str, Mapping[int, RunOutcomes]]
    measure: Measure

    def pair(self, one: str, other: str, seed: int) -> Pair:
        """Return how two groups compare."""
        a, b = self.groups[one], self.groups[other]
        seeds = sorted(a.keys() & b.keys())
        if not seeds:
            raise ConfigError(
                f"{one!r} and {other!r} have no seed in common",
                hint="run both with the same --seed, so that they meet the same users",
            )
        judged = [(a[n].judged, b[n].judged) for n in seeds]
        who = sorted({user for pair in judged for user in pair[0].keys() & pair[1].keys()})
        if not who:
            raise ConfigError(f"{one!r} and {other!r} have no visit in common")
        mine, others = ([values(p[side], who, self.measure) for p in judged] for side in (0, 1))
        table = np.array(mine) - np.array(others)
        there = int(np.isfinite(table).sum())
        everybody = sum(len(pair[0].keys() | pair[1].keys()) for pair in judged)
        interval = paired_interval(table, seed=seed, resamples=_RESAMPLES)
        return Pair(
            one=one,
            other=other,
            visits=there,
            missing=everybody - there,
            difference=_mean(table, interval),
            p=number(sign_flip_p(table, seed=seed, resamples=_RESAMPLES)),
            p_holm=1.0,
            effect=number(effect_size(table)),
            better=number(superiority(table)),
        )


def values(visits: Mapping[Who, Outcome], who: Sequence[Who], measure: Measure) -> list[float]:
    """Return the *measure* of each visit in the order of *who*; NaN where there is none."""
    return [_value(visits.get(user), measure) for user in who]


def _value(outcome: Outcome | None, measure: Measure) -> float:
    if outcome is None:
        return float("nan")
    match measure:
        case "len":
            return float(outcome.length)
        case "r_traj":
            return outcome.reward
        case "r_each":
            return outcome.reward / outcome.length if outcome.length else 0.0


def _group(label: str, members: Mapping[int, RunOutcomes], seed: int) -> Group:
    seeds = sorted(members)
    judged = [members[n].judged for n in seeds]
    who = sorted({user for visits in judged for user in visits})
    return Group(
        label=label,
        runs=tuple(str(members[n].path) for n in seeds),
        seeds=tuple(seeds),
        visits=sum(map(len, judged)),
        failed=sum(members[n].failed for n in seeds),
        means={name: mean_of(judged, who, name, seed) for name in MEASURES},
    )


def mean_of(
    judged: Sequence[Mapping[Who, Outcome]], who: Sequence[Who], measure: Measure, seed: int
) -> Mean:
    """Return the mean of a *measure* over the users *who* under each seed, with its interval."""
    table = np.array([values(visits, who, measure) for visits in judged])
    return _mean(table, mean_interval(table, seed=seed, resamples=_RESAMPLES))


def _mean(table: Table, interval: Interval) -> Mean:
    return Mean(
        mean=number(float(np.nanmean(table))),
        low=number(interval.low),
        high=number(interval.high),
    )


def _notes(read: Sequence[RunOutcomes], pairs: Sequence[Pair]) -> Iterable[str]:
    for run in read:
        if run.failed:
            episodes = "1 episode" if run.failed == 1 else f"{run.failed:,} episodes"
            yield f"{run.path}: {episodes} failed, and the visits in common are compared"
    for pair in pairs:
        if pair.missing:
            visits = "1 visit is" if pair.missing == 1 else f"{pair.missing:,} visits are"
            yield f"{pair.one} and {pair.other}: {visits} in one of them only, and left out"
    if any(run.head.model == "embedded" for run in read):
        yield "the embedded model is a stand-in: its numbers say nothing of language models"
