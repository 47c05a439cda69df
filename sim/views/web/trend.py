"""How a run goes, block by block: as charts that may grow, and as a table of the same numbers."""

from dataclasses import dataclass
from typing import Any

import altair as alt
import msgspec

from sim.analysis.trend import TraceTrend, Trend, TrendPoint
from sim.views.web.opened import Opened
from sim.views.web.page import Asked, Page

_HEIGHT = 190


@dataclass(frozen=True)
class TrendFacts:
    """The blocks of a run, and why no categories are told, if none are."""

    run: str
    points: tuple[TrendPoint, ...]
    rows: dict[str, list[dict[str, Any]]]
    why: str


def trend_page(asked: Asked) -> Page:
    """Return how a run goes."""
    opened, ledger = Opened(asked.directory), asked.ledger
    kept, why = asked.kept.trend(opened.directory, lambda: _trend(opened))
    points = kept.refresh(ledger)
    return Page("trend.html", TrendFacts(asked.run, points, rows_of(points), why))


def _trend(opened: Opened) -> tuple[TraceTrend, str]:
    world, why = opened.world
    if world is None:
        return TraceTrend(Trend()), why
    names = world.catalog.categories
    return TraceTrend(Trend(lambda item: names[item] if 0 <= item < len(names) else ())), ""


def rows_of(points: tuple[TrendPoint, ...]) -> dict[str, list[dict[str, Any]]]:
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


def _span(point: TrendPoint) -> dict[str, Any]:
    return {"first": point.first, "next": point.last + 1}


def _reward(point: TrendPoint) -> dict[str, Any]:
    middle = (point.first + point.last) / 2
    told = msgspec.to_builtins(point)
    return {"middle": middle, **{name: told[name] for name in ("mean", "low", "high", "len")}}


def trend_specs() -> dict[str, dict[str, Any]]:
    """Return the charts by name, without rows: those are put in as they come."""
    return {"rewards": _rewards(), "reasons": _shares("why"), "categories": _shares("category")}


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
    return _spec(alt.layer(band, line))


def _shares(title: str) -> dict[str, Any]:
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
    return _spec(chart)


def _spec(chart: Any) -> dict[str, Any]:
    sized = chart.properties(width="container", height=_HEIGHT, data=alt.NamedData("rows"))
    spec: dict[str, Any] = sized.to_dict()
    spec["datasets"] = {"rows": []}
    return spec
