"""Charts of a comparison: differences, learning curves, performance profiles, user against user."""

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from sim.analysis.aggregates import Aggregates, Estimate
from sim.analysis.comparison import Comparison
from sim.analysis.curves import Curve
from sim.analysis.means import Mean, Pair
from sim.analysis.outcomes import column_of
from sim.analysis.sheets import label_of
from sim.views.charts.look import HEIGHT, Row, Spec, colour, dashes, shown, spec_of

SEEDS, USERS = "other trainings (seeds)", "other users (these memories)"
_STEP = 52  # points of height that a pair takes
_NUMBER = ".3~f"


def forest(found: Comparison) -> Spec:
    """Return the paired differences with both of their intervals, a line at no difference."""
    rows = [row for pair in found.pairs for row in _intervals(pair)]
    where: dict[str, Any] = {
        "y": alt.Y("label:N", sort=None, title=None, axis=_above()),
        "yOffset": alt.YOffset("of:N", sort=[SEEDS, USERS], scale=alt.Scale(paddingOuter=0.6)),
    }
    legend = alt.Legend(
        title="95 % intervals, from the top", orient="bottom", direction="vertical", labelLimit=300
    )
    apart = alt.Color("of:N", sort=[SEEDS, USERS], legend=legend)
    x = alt.X("mean:Q", title=f"difference of {column_of(found.measure)}")
    tooltip = [
        alt.Tooltip("label:N", title="difference"),
        *(alt.Tooltip(f"{name}:Q", format=_NUMBER) for name in ("mean", "low", "high")),
        alt.Tooltip("of:N", title="95 % with"),
    ]
    rule = (
        alt.Chart()
        .mark_rule(strokeWidth=2)
        .encode(**where, x=alt.X("low:Q"), x2="high:Q", color=apart, tooltip=tooltip)
    )
    point = (
        alt.Chart()
        .mark_point(filled=True, size=70, opacity=1)
        .encode(**where, color=apart, x=x, tooltip=tooltip)
    )
    none = alt.Chart().mark_rule(strokeDash=[4, 3], color="gray").encode(x=alt.datum(0))
    return spec_of(alt.layer(none, rule, point), rows, height=_STEP * max(1, len(found.pairs)))


def _above() -> alt.Axis:
    """Return an axis whose labels stand above what they name, so that they may be long."""
    return alt.Axis(
        labelAlign="left",
        labelPadding=0,
        labelOffset=-16,
        labelLimit=600,
        ticks=False,
        domain=False,
        grid=False,
    )


def _intervals(pair: Pair) -> Iterator[Row]:
    gap, label = pair.difference, shown(label_of(pair))
    if gap.low is not None and gap.high is not None:
        yield {"label": label, "of": SEEDS, "mean": gap.mean, "low": gap.low, "high": gap.high}
    users = {"low": gap.users.low, "high": gap.users.high}
    yield {"label": label, "of": USERS, "mean": gap.mean, **users}


def learning(curves: Sequence[Curve]) -> Spec:
    """Return learning curves, each with a band: over seeds, or over users where there is one."""
    rows = [
        {"label": shown(curve.label), "trained": point.trained, **_band(point.value)}
        for curve in curves
        for point in curve.points
    ]
    measure = column_of(curves[0].measure) if curves else ""
    x = alt.X("trained:Q", title="training episodes before the test")
    scale = alt.Scale(zero=False)
    base = alt.Chart().encode(x=x, color=colour("agent"))
    band = base.mark_area(opacity=0.2).encode(
        y=alt.Y("low:Q", title=f"{measure}, 95 % band", scale=scale), y2="high:Q"
    )
    line = base.mark_line().encode(
        strokeDash=dashes(),
        y=alt.Y("mean:Q"),
        tooltip=_tooltip("trained", "mean", "low", "high"),
    )
    points = base.mark_circle(size=40, opacity=1).encode(y=alt.Y("mean:Q"))
    return spec_of(alt.layer(band, line, points), rows, height=HEIGHT + 60)


def _band(value: Mean) -> Row:
    if value.low is None or value.high is None:
        return {"mean": value.mean, "low": value.users.low, "high": value.users.high}
    return {"mean": value.mean, "low": value.low, "high": value.high}


def profiles(found: Aggregates, measure: str) -> Spec:
    """Return the share of runs above each score, a step line for each group, with its band."""
    rows = [
        {"label": shown(group.label), "tau": point.tau, **_share(point.share)}
        for group in found.groups
        for point in group.profile
    ]
    score = column_of(measure) + (f" ÷ that of {found.oracle}" if found.oracle else "")
    base = alt.Chart().encode(
        x=alt.X("tau:Q", title=f"τ: {score}", scale=alt.Scale(zero=False)),
        color=colour("agent"),
    )
    percent, whole = alt.Axis(format="%"), alt.Scale(domain=[0, 1])
    band = base.mark_area(opacity=0.2, interpolate="step-after").encode(
        y=alt.Y("low:Q", title="share of runs above τ", axis=percent, scale=whole), y2="high:Q"
    )
    line = base.mark_line(interpolate="step-after").encode(
        strokeDash=dashes(),
        y=alt.Y("share:Q"),
        tooltip=_tooltip("tau", "share"),
    )
    return spec_of(alt.layer(band, line), rows, height=HEIGHT + 60)


def _share(found: Estimate) -> Row:
    return {"share": found.value, "low": found.low, "high": found.high}


def _tooltip(*names: str) -> list[alt.Tooltip]:
    numbers = (alt.Tooltip(f"{name}:Q", format=_NUMBER) for name in names)
    return [alt.Tooltip("label:N", title="agent"), *numbers]


def against(rows: Sequence[Row], one: str, other: str, measure: str) -> Spec:
    """Return visits as points, what each got in *one* run (`one`) against the *other* (`other`).

    Rows have `user`, `session` and, for pages that lead on, `place`: which of a list it is.
    """
    column, scale = column_of(measure), alt.Scale(zero=False, nice=True)
    ends = [row[name] for row in rows for name in ("one", "other")]
    equal = {"low": min(ends, default=0), "high": max(ends, default=1)}
    line = (
        alt.Chart(alt.NamedData("equal"))
        .mark_rule(strokeDash=[4, 3], color="gray")
        .encode(x="low:Q", y="low:Q", x2="high:Q", y2="high:Q")
    )
    point = (
        alt.Chart()
        .mark_circle(opacity=0.65, size=55, cursor="pointer")
        .encode(
            x=alt.X("one:Q", title=f"{column} in {shown(one)}", scale=scale),
            y=alt.Y("other:Q", title=f"{column} in {shown(other)}", scale=scale),
            color=alt.Color("more:N", sort=["one", "same", "other"], scale=_sides(), legend=None),
            tooltip=["user:N", "session:N", *(_fixed(name) for name in ("one", "other"))],
        )
    )
    told = [{**row, "more": _more(row)} for row in rows]
    spec = spec_of(alt.layer(line, point), told, height=320)
    spec["datasets"]["equal"] = [equal]
    return spec


def _sides() -> alt.Scale:
    return alt.Scale(domain=["one", "same", "other"], range=["#e8590c", "#868e96", "#4263eb"])


def _fixed(name: str) -> alt.Tooltip:
    return alt.Tooltip(f"{name}:Q", format=".2f")


def _more(row: Row) -> str:
    if row["one"] == row["other"]:
        return "same"
    return "one" if row["one"] > row["other"] else "other"
