"""Learning curves in the terminal: a row for each test, a bar for its mean."""

from collections.abc import Sequence

from rich.table import Table

from sim.analysis.curves import Curve
from sim.analysis.means import Mean
from sim.analysis.outcomes import column_of
from sim.analysis.sheets import form_of, with_interval

_WIDTH = 30


def curve_tables(curves: Sequence[Curve]) -> list[Table]:
    """Return a table for each curve; all bars are on one scale."""
    values = [point.value for curve in curves for point in curve.points]
    highest = max((_ends(value)[1] for value in values), default=0.0)
    return [_table(curve, max(highest, 1e-9)) for curve in curves]


def _table(curve: Curve, highest: float) -> Table:
    table = Table(title=f"Learning curve of {curve.label}", title_justify="left")
    table.add_column("trained", justify="right", no_wrap=True)
    table.add_column(column_of(curve.measure), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("by seed", overflow="fold")
    form = form_of(curve.measure, [point.value for point in curve.points])
    for point in curve.points:
        value = point.value
        low, high = _ends(value)
        table.add_row(
            f"{point.trained:,}",
            with_interval(value, form),
            _bar(low, value.mean, high, highest),
            " ".join(form(own.value) for own in value.by_seed),
        )
    return table


def _ends(value: Mean) -> tuple[float, float]:
    """Return the interval over seeds; of one seed, which has none, the mean."""
    if value.low is None or value.high is None:
        return value.mean, value.mean
    return value.low, value.high


def _bar(low: float, mean: float, high: float, highest: float) -> str:
    """Return a bar up to the mean, with the interval drawn over it."""
    start, middle, end = (
        max(0, min(_WIDTH, round(_WIDTH * value / highest))) for value in (low, mean, high)
    )
    signs = ["█"] * middle + [" "] * (_WIDTH - middle)
    for place in range(start, end):
        signs[place] = "▓" if place < middle else "░"
    return "".join(signs)
