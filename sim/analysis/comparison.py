"""What came of comparing agents: for programs, and as rows of what people read."""

from collections.abc import Iterator

import msgspec
import polars as pl

from engine.html import note, table
from engine.messages import Setting
from sim.analysis.outcomes import MEASURES, column_of
from storage.tables import frame_of, plain, schema_of

MODE = (
    *("repeats", "quit_rule", "quit.first_step", "quit.window", "rewards.satiation"),
    *("test_memory", "test_episodes", "limit"),
)
"""Settings that confound comparisons, and stand above each of them."""

PAIRS = ("difference", "mean", "95 % interval", "p (Holm)", "d", "better")
_WORDS = {
    "repeats": "items shown before: {}",
    "quit_rule": "users leave by {}",
    "quit.first_step": "quits at step 0: {}",
    "quit.window": "quit window {}",
    "rewards.satiation": "satiation {}",
    "test_memory": "memory in the test: {}",
    "test_episodes": "test episodes: {}",
    "limit": "at most {} steps",
}


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over users and seeds, and where it may lie."""

    mean: float
    low: float
    high: float


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that differ by their seeds only: how many visits they are judged by, and their means.

    Means are over users and seeds, a user's visits under one seed averaged; r_each is all rewards
    ÷ all steps whose reward is known.
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


_MEANS = {
    **{"label": pl.String, "measure": pl.String},
    **schema_of(Mean),
    **{"seeds": pl.Int64, "visits": pl.Int64, "failed": pl.Int64},
}


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Groups and pairs, by one *measure*; *mode* says under which rules all of them were run."""

    measure: str
    environment: str
    mode: dict[str, Setting]
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table of groups."""
        measures = {**MEASURES, self.measure: column_of(self.measure)}
        return "agent", *measures.values(), "visits"

    def frame(self) -> pl.DataFrame:
        """Return the means as a table, a row for each group and measure."""
        rows = (
            {"label": group.label, "measure": measure, **plain(mean), **_counts(group)}
            for group in self.groups
            for measure, mean in group.means.items()
        )
        return frame_of(rows, _MEANS)

    def differences(self) -> pl.DataFrame:
        """Return the pairs as a table, one a row: how much more one gets than the other."""
        return frame_of(map(plain, self.pairs), schema_of(Pair)).unnest("difference")

    def _repr_html_(self) -> str:
        parts = [table(self.columns, map(group_row, self.groups))]
        if self.pairs:
            title = f"Differences of {column_of(self.measure)}, user by user"
            parts.append(table(PAIRS, map(pair_row, self.pairs), title=title))
        return "".join([*parts, *map(note, below(self))])


def _counts(group: Group) -> dict[str, int]:
    return {"seeds": len(group.seeds), "visits": group.visits, "failed": group.failed}


def group_row(group: Group) -> tuple[str, ...]:
    """Return what stands in a table of groups, in the order of `Comparison.columns`."""
    places = {"len": 1, "r_traj": 1}
    means = [_with_interval(mean, places.get(name, 2)) for name, mean in group.means.items()]
    return group.label, *means, f"{group.visits:,}"


def pair_row(pair: Pair) -> tuple[str, ...]:
    """Return what stands in a table of pairs, in the order of PAIRS."""
    d = pair.difference
    return (
        f"{pair.one} − {pair.other}",
        f"{d.mean:+.3g}",
        f"{d.low:+.3g} … {d.high:+.3g}",
        _p(pair.p_holm),
        f"{pair.effect:+.2f}",
        f"{pair.better:.0%}",
    )


def _with_interval(mean: Mean, places: int) -> str:
    return f"{mean.mean:.{places}f} [{mean.low:.{places}f}, {mean.high:.{places}f}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def below(found: Comparison) -> Iterator[str]:
    """Yield what is to be said below the tables."""
    counts = sorted({group.visits for group in found.groups})
    visits = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
    yield f"Judged by {visits} visits each. {_mode(found)}; environment {found.environment[:12]}."
    if found.pairs:
        yield (
            "p: sign-flip permutation test of the users' mean differences, given these seeds, "
            "adjusted by Holm; intervals: bootstrap over users and seeds; d: Cohen's, paired; "
            "better: share of users, ties half."
        )
    if found.pairs and found.measure == "r_each":
        yield "Differences of R_each are of single visits; the means put all visits together."
    yield from (f"Note: {said}." for said in found.notes)


def _mode(found: Comparison) -> str:
    mode = dict(found.mode)
    if not mode.get("test_episodes", 1):
        mode.pop("test_memory", None)
    said = ", ".join(_WORDS[name].format(value) for name, value in mode.items())
    return said[:1].upper() + said[1:]
