"""How charts look: one palette, told apart without colour too, and no font or size of their own.

A chart has the colours of the page that it is on, light or dark; those here are for paper.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import altair as alt

from engine.text import visible

Spec: TypeAlias = dict[str, Any]
"""A chart as Vega-Lite, with its rows in the data set `rows`."""

Row: TypeAlias = Mapping[str, Any]

PALETTE = (
    *("#4263eb", "#e8590c", "#0c8599", "#ae3ec9"),
    *("#5c940d", "#868e96", "#d6336c", "#7a5c00"),
)
"""The colours of series in order, those of the pages by daylight: 3:1 against white, or more."""

LOSS, NEUTRAL, GAIN = "#c2410c", "#b8bcc4", "#1d4ed8"
"""Of what is below, at and above zero: told apart by who sees no red or no green."""

_INK, _LINE = "#59606d", "#dadde3"
HEIGHT = 190
_LABEL = 90  # characters: longer ones would leave no room for what they name


def paper() -> Spec:
    """Return how a chart looks where no page says so."""
    text = {"labelColor": _INK, "titleColor": _INK, "titleFontWeight": "normal"}
    return {
        "background": "white",
        "mark": {"color": PALETTE[0]},
        "view": {"stroke": "transparent"},
        "axis": {**text, "gridColor": _LINE, "domainColor": _LINE, "tickColor": _LINE},
        "legend": text,
        "header": text,
        "title": {"fontSize": 13, "fontWeight": 600, "anchor": "start", "offset": 12},
        "range": {"category": list(PALETTE)},
    }


def shown(text: str) -> str:
    """Return *text* as a label: visible, and not longer than there is room for."""
    plain = visible(text)
    return plain if len(plain) <= _LABEL else f"{plain[: _LABEL - 1]}…"


def spec_of(chart: Any, rows: Iterable[Row], *, height: int = HEIGHT) -> Spec:
    """Return *chart*, as wide as its place, with *rows*; numbers that are none are left out."""
    sized = chart.properties(width="container", height=height, data=alt.NamedData("rows"))
    return with_rows(sized.to_dict(), rows)


def with_rows(spec: Spec, rows: Iterable[Row]) -> Spec:
    """Return *spec* with other *rows*."""
    return {**spec, "datasets": {**spec.get("datasets", {}), "rows": [dict(row) for row in rows]}}


def titled(spec: Spec, title: str) -> Spec:
    """Return *spec* with a *title*: on paper, where no caption stands below."""
    return {**spec, "title": visible(title)}


def colour(title: str) -> alt.Color:
    """Return what gives the series called `label` their colours."""
    legend = alt.Legend(
        title=title,
        orient="top",
        direction="vertical",
        labelLimit=600,
        symbolType="stroke",
        symbolOpacity=1,
        symbolStrokeWidth=2.5,
    )
    return alt.Color("label:N", sort=None, legend=legend)


def dashes() -> alt.StrokeDash:
    """Return what tells lines apart for who sees no colours."""
    return alt.StrokeDash("label:N", sort=None, legend=None)
