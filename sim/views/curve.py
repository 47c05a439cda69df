"""Learning curves in the terminal: a row for each test, a bar for its mean."""

from collections.abc import Sequence

from rich.table import Table

from sim.analysis.curves import Curve
from sim.analysis.outcomes import column_of

_WIDTH = 30


def curve_tables(curves: Sequence[Curve]) -> list[Table]:
    """Return a table for each curve; all bars are on one scale."""
    highest = max((point.value.high for curve in curves for point in curve.points), default=0.0)
    return [_table(curve, max(highest, 1e-9)) for curve in curves]


def _table(curve: Curve, highest: float) -> Table:
    table = Table(title=f"Learning curve of {curve.label}", title_justify="left")
    table.add_column("trained", justify="right", no_wrap=True)
    table.add_column(column_of(curve.measure), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for point in curve.points:
        value = point.value
        table.add_row(
            f"{point.trained:,}",
            f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]",
            _bar(value.low, value.mean, value.high, highest),
        )
    return table


def _bar(low: float, mean: float, high: float, highest: float) -> str:
    """Return a bar up to the mean, with the interval drawn over it."""
    start, middle, end = (
        max(0, min(_WIDTH, round(_WIDTH * value / highest))) for value in (low, mean, high)
    )
    signs = ["█"] * middle + [" "] * (_WIDTH - middle)
    for place in range(start, end):
        signs[place] = "▓" if place < middle else "░"
    return "".join(signs)
