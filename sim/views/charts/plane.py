"""Charts of memories: the plane of their keys, coloured by advantage."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import altair as alt

from sim.analysis.memory.plane import Floats
from sim.views.charts.look import GAIN, LOSS, NEUTRAL, Row, Spec

_SIZE = 380
_MANY = 1_000  # points, of which each is drawn smaller


@dataclass(frozen=True, eq=False)
class Points:
    """A panel: a *title*, *places* of shape (n, 2), an advantage for each, NaN where none is known.

    *shares*: those of the variance that the two axes show.
    """

    title: str
    places: Floats
    advantages: Floats
    shares: tuple[float, float]


def memory_map(panels: Sequence[Points], bound: float) -> Spec:
    """Return the *panels* side by side; colours are strongest at an advantage of ±*bound*."""
    names = [f"panel{place}" for place in range(len(panels))]
    charts = [_panel(one, name, bound) for one, name in zip(panels, names, strict=True)]
    spec: Spec = alt.hconcat(*charts).to_dict()
    spec["datasets"] = dict(zip(names, map(_rows, panels), strict=True))
    return spec


def _panel(panel: Points, name: str, bound: float) -> alt.LayerChart | alt.FacetChart:
    first, second = panel.shares
    scale = alt.Scale(
        domain=[-bound, 0, bound], range=[LOSS, NEUTRAL, GAIN], clamp=True, interpolate="rgb"
    )
    base = (
        alt.Chart(alt.NamedData(name))
        .mark_circle(size=8 if len(panel.places) > _MANY else 30, opacity=0.8, aria=False)
        .encode(
            x=alt.X("x:Q", title=f"first component, {first:.0%} of the variance", scale=_any()),
            y=alt.Y("y:Q", title=f"second component, {second:.0%}", scale=_any()),
        )
    )
    # Those without an advantage lie below: they would hide what the map is drawn for.
    known = base.transform_filter("datum.a !== null").encode(
        color=alt.Color("a:Q", title="advantage", scale=scale)
    )
    without = base.transform_filter("datum.a === null").encode(color=alt.value("#d0d3d9"))
    return alt.layer(without, known).properties(title=panel.title, width=_SIZE, height=_SIZE)


def _any() -> alt.Scale:
    return alt.Scale(zero=False, nice=True)


def _rows(panel: Points) -> list[Row]:
    places, advantages = panel.places.round(5).tolist(), panel.advantages.round(6).tolist()
    return [
        {"x": x, "y": y, "a": None if isnan(a) else a}
        for (x, y), a in zip(places, advantages, strict=True)
    ]
