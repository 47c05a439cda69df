"""Two runs side by side: where they part, and what that did to each user."""

from collections.abc import Iterator
from itertools import zip_longest
from math import fsum
from os import PathLike
from pathlib import Path

import msgspec

from engine.messages import RunStarted, Setting
from sim.analysis.outcomes import Outcome, Who, outcomes
from sim.runs.divergence import Difference, explain
from sim.runs.recorded import check_head
from storage.runs import open_run
from storage.traces import opening, opening_of, read_lines


class VisitDiff(msgspec.Struct, frozen=True, kw_only=True):
    """A user's visit in two runs; None where it is in one only, or failed."""

    user: int
    session: int
    one: Outcome | None
    other: Outcome | None

    @property
    def changed(self) -> bool:
        """Whether it came out differently."""
        return self.one != self.other


class RunDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs side by side.

    *settings* are those that differ, by name; *first* is the first envelope after the heads that
    does; *visits* are all of them; the means are over visits in both, the other less the one.
    """

    settings: dict[str, tuple[Setting | None, Setting | None]]
    first: Difference | None
    visits: tuple[VisitDiff, ...]

    @property
    def changed(self) -> list[VisitDiff]:
        """The visits that came out differently."""
        return [visit for visit in self.visits if visit.changed]

    def means(self) -> tuple[float, float]:
        """Return by how much Len and R_traj are greater in the other run."""
        pairs = [(v.one, v.other) for v in self.visits if v.one is not None and v.other is not None]
        count = max(1, len(pairs))
        length = sum(other.length - one.length for one, other in pairs) / count
        reward = fsum(other.reward - one.reward for one, other in pairs) / count
        return length, reward


def diff(one: PathLike[str] | str, other: PathLike[str] | str) -> RunDiff:
    """Compare two runs; raises FileErrors for what are none."""
    traces = [open_run(Path(run)).trace for run in (one, other)]
    heads = [check_head(trace) for trace in traces]
    return RunDiff(
        settings=_differing(*map(_settings, heads)),
        first=_first(*traces),
        visits=tuple(_visits(*map(outcomes, traces))),
    )


def _settings(head: RunStarted) -> dict[str, Setting]:
    named = {name: getattr(head, name) for name in ("agent", "model", "environment", "seed")}
    return {**named, **dict(head.settings)}


def _differing(
    one: dict[str, Setting], other: dict[str, Setting]
) -> dict[str, tuple[Setting | None, Setting | None]]:
    pairs = {name: (one.get(name), other.get(name)) for name in dict.fromkeys([*one, *other])}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _first(one: Path, other: Path) -> Difference | None:
    """Return the first difference after the heads."""
    before: list[bytes] = []
    own = opening(None)
    lines = zip_longest(read_lines(one), read_lines(other), fillvalue=(0, None))
    next(lines)
    for (number, old), (other_number, new) in lines:
        if old != new:
            return explain(number or other_number, old, new, before)
        if old is not None and not old.startswith(own):
            own = opening_of(old)
            before.clear()
        before.append(old or b"")
    return None


def _visits(one: dict[Who, Outcome], other: dict[Who, Outcome]) -> Iterator[VisitDiff]:
    for who in sorted({*one, *other}):
        yield VisitDiff(user=who[0], session=who[1], one=one.get(who), other=other.get(who))
