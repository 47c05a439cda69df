"""Charts of what a critic is worth: its values against returns, and how noisy each estimator is."""

from collections.abc import Mapping
from math import isfinite

import altair as alt
import numpy as np

from sim.experiments.critic_statistics import Fit
from sim.experiments.critique import Critique, table_of
from sim.views.charts.look import PALETTE, Row, Spec, titled

_WIDTH, _HEIGHT = 420, 320


def critique_chart(found: Critique, names: Mapping[str, str]) -> Spec:
    """Return both charts side by side; *names* are those of the estimators."""
    chart = alt.hconcat(_states(found), _noise()).resolve_scale(color="independent")
    spec: Spec = chart.to_dict()
    rows = _state_rows(found)
    # What does not differ across states has no bar.
    noises = [
        {"what": names[name], "noise": one.noise}
        for name, one in found.spreads.items()
        if one.noise is not None and isfinite(one.noise)
    ]
    spec["datasets"] = {
        "states": rows,
        "fit": _fit(found.fits["return"], [row["value"] for row in rows]),
        "noises": noises,
    }
    return titled(spec, f"{found.agent}, critic by {found.model}: {len(found.states)} states")


def _state_rows(found: Critique) -> list[Row]:
    values, returns = table_of(found.states, "value"), table_of(found.states, "return")
    columns = {"value": values, "return": returns}
    means = {name: np.nanmean(table, axis=1).tolist() for name, table in columns.items()}
    spreads = {name: np.nanstd(table, axis=1, ddof=1).tolist() for name, table in columns.items()}
    return [_state(means, spreads, place) for place in range(len(found.states))]


def _state(means: Mapping[str, list[float]], spreads: Mapping[str, list[float]], place: int) -> Row:
    row: dict[str, float] = {}
    for name, own in means.items():
        row[name] = own[place]
        row[f"{name}_low"] = own[place] - spreads[name][place]
        row[f"{name}_high"] = own[place] + spreads[name][place]
    return row


def _fit(one: Fit, values: list[float]) -> list[Row]:
    ends = (min(values), max(values))
    return [{"value": x, "return": one.intercept + one.slope * x} for x in ends]


def _states(found: Critique) -> alt.LayerChart | alt.FacetChart:
    scale = alt.Scale(zero=False)
    x = alt.X("value:Q", title="V(s), asked again: mean ± deviation", scale=scale)
    y = alt.Y("return:Q", title=f"return, γ = {found.discount:g}: mean ± deviation", scale=scale)
    base = alt.Chart(alt.NamedData("states"))
    across = base.mark_rule(color=PALETTE[0], opacity=0.5)
    layers = (
        across.encode(x=alt.X("value_low:Q"), x2="value_high:Q", y=y),
        across.encode(x=x, y=alt.Y("return_low:Q"), y2="return_high:Q"),
        base.mark_circle(color=PALETTE[0], size=45, opacity=0.9).encode(x=x, y=y),
        alt.Chart(alt.NamedData("fit"))
        .mark_line(strokeDash=[5, 4], color=PALETTE[5])
        .encode(x=x, y=y),
    )
    return alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT)


def _noise() -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(alt.NamedData("noises"))
        .mark_bar(color=PALETTE[0])
        .encode(
            x=alt.X("noise:Q", title="noise: deviation within ÷ across states"),
            y=alt.Y("what:N", title=None, sort=None),
        )
        .properties(width=260, height=_HEIGHT)
    )
    return chart
