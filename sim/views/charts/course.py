"""Charts of how a run goes, block by block of its episodes: rewards, reasons, categories."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import altair as alt
import msgspec

from sim.analysis.trend import TrendPoint
from sim.views.charts.look import Row, Spec, spec_of, with_rows


def course_rows(points: Sequence[TrendPoint]) -> dict[str, list[Row]]:
    """Return the rows of each chart, by the name of the chart."""
    return {
        "rewards": [_reward(point) for point in points if point.mean is not None],
        "reasons": [
            {**_span(point), "what": reason, "count": count}
            for point in points
            for reason, count in point.reasons.items()
        ],
        "categories": [
            {**_span(point), "what": name, "count": count}
            for point in points
            for name, count in point.categories.items()
        ],
    }


def _span(point: TrendPoint) -> Row:
    return {"first": point.first, "next": point.last + 1}


def _reward(point: TrendPoint) -> Row:
    middle = (point.first + point.last) / 2
    told = msgspec.to_builtins(point)
    return {"middle": middle, **{name: told[name] for name in ("mean", "low", "high", "len")}}


@cache  # always the same, and drawing them takes longer than the rest of a page
def course_specs() -> dict[str, Spec]:
    """Return the charts by name, without rows: pages put those in as they come.

    Whoever gets them leaves them as they are.
    """
    return {"rewards": _rewards(), "reasons": _shares("why"), "categories": _shares("category")}


def course(points: Sequence[TrendPoint]) -> dict[str, Spec]:
    """Return the charts of *points* by name, but those that have nothing to show."""
    rows = course_rows(points)
    return {
        name: with_rows(spec, rows[name]) for name, spec in course_specs().items() if rows[name]
    }


def _rewards() -> dict[str, Any]:
    base = alt.Chart().encode(x=alt.X("middle:Q", title="episode"))
    band = base.mark_area(opacity=0.25).encode(
        y=alt.Y("low:Q", title="R_traj", scale=alt.Scale(zero=False)), y2="high:Q"
    )
    line = base.mark_line(point={"size": 20}).encode(
        y=alt.Y("mean:Q"),
        tooltip=[
            alt.Tooltip("mean:Q", title="R_traj", format=".2f"),
            alt.Tooltip("len:Q", title="Len", format=".2f"),
        ],
    )
    return spec_of(alt.layer(band, line), ())


def _shares(title: str) -> Spec:
    chart = (
        alt.Chart()
        .mark_bar(binSpacing=0)
        .encode(
            x=alt.X("first:Q", title="episode", bin="binned"),
            x2="next:Q",
            y=alt.Y("count:Q", stack="normalize", title="share", axis=alt.Axis(format="%")),
            color=alt.Color("what:N", title=title),
            tooltip=[alt.Tooltip("what:N", title=title), alt.Tooltip("count:Q")],
        )
    )
    return spec_of(chart, ())
