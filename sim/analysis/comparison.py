"""What came of comparing agents: for programs, and as what people read."""

from collections.abc import Iterator

import msgspec
import polars as pl

from engine.html import note, table
from engine.messages import Setting
from sim.analysis.aggregates import Aggregates, Estimate
from sim.analysis.means import Group, Mean, Pair
from sim.analysis.outcomes import MEASURES
from sim.analysis.sheets import Sheet, means_sheet, pair_sheets, score_sheets
from storage.tables import frame_of, plain, schema_of

MODE = (
    *("repeats", "quit_rule", "quit.first_step", "quit.window", "rewards.satiation"),
    *("test_memory", "test_episodes", "limit"),
)
"""Settings that confound comparisons, and stand above each of them."""

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
    aggregates: Aggregates
    notes: tuple[str, ...]

    def sheets(self) -> Iterator[Sheet]:
        """Yield the tables that people read."""
        yield means_sheet(self.groups, [*{**MEASURES, self.measure: ""}])
        yield from pair_sheets(self.groups, self.pairs, self.measure)
        yield from score_sheets(self.aggregates, self.measure)

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

    def profiles(self) -> pl.DataFrame:
        """Return the performance profiles as a table: a row for each group and threshold."""
        rows = (
            {"label": group.label, "tau": point.tau, **plain(point.share)}
            for group in self.aggregates.groups
            for point in group.profile
        )
        return frame_of(rows, {"label": pl.String, "tau": pl.Float64, **schema_of(Estimate)})

    def _repr_html_(self) -> str:
        tables = (table(sheet.names, sheet.rows, title=sheet.title) for sheet in self.sheets())
        return "".join([*tables, *map(note, below(self))])


def _counts(group: Group) -> dict[str, int]:
    return {"seeds": len(group.seeds), "visits": group.visits, "failed": group.failed}


def below(found: Comparison) -> Iterator[str]:
    """Yield what is to be said below the tables."""
    counts = sorted({group.visits for group in found.groups})
    visits = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
    yield f"Judged by {visits} visits each. {_mode(found)}; environment {found.environment[:12]}."
    yield "Intervals over seeds: t interval of the seeds' means, each over its users."
    if found.pairs:
        yield (
            "p: paired t test of seeds, adjusted by Holm; signs: sign flip of seeds, so adjusted. "
            "For these trained memories only: bootstrap over users, sign flip of users' mean "
            "differences; d: Cohen's, paired; better: share of users, ties half."
        )
    if len(found.groups[0].seeds) > 1:
        yield (
            "Scores of seeds as rliable defines them (arXiv 2108.13264): IQM, mean of the middle "
            "half; optimality gap, 1 − mean of min(score, 1); bootstrap over seeds."
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
