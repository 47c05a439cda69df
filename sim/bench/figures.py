"""Figures of the book, and what is reckoned of costs for them."""

import math
from collections.abc import Sequence

import msgspec

from sim.bench.cost import Cost


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A number of the book: a *value* in a *unit*, found by work of so many processor *seconds*.

    It is *ratio* times that of a *yardstick*; a yardstick itself has neither.
    """

    what: str
    value: float
    unit: str
    seconds: float
    ratio: float | None = None
    yardstick: str = ""


class Chapter(msgspec.Struct, frozen=True, kw_only=True):
    """Figures that belong together, *how* they were found, and what else there is to say."""

    name: str
    title: str
    how: str
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()


def rate(what: str, unit: str, cost: Cost, ratio: float | None = None, of: str = "") -> Figure:
    """Return the figure of how many in a second of a processor."""
    return _figure(what, cost.rate, f"{unit}/s", cost, ratio, of)


def micros(what: str, unit: str, cost: Cost, ratio: float | None = None, of: str = "") -> Figure:
    """Return the figure of how many microseconds of a processor one takes."""
    return _figure(what, 1e6 * cost.each, f"µs a {unit}", cost, ratio, of)


def spent(what: str, cost: Cost, ratio: float | None = None, of: str = "") -> Figure:
    """Return the figure of how many seconds of a processor it took."""
    return _figure(what, cost.seconds, "s", cost, ratio, of)


def room(what: str, cost: Cost, ratio: float | None = None, of: str = "") -> Figure:
    """Return the figure of how much memory there was at most."""
    return _figure(what, cost.peak, "MB", cost, ratio, of)


def waited(what: str, cost: Cost, ratio: float | None = None, of: str = "") -> Figure:
    """Return the figure of how many seconds passed."""
    return _figure(what, cost.wall, "s (wall)", cost, ratio, of)


def _figure(what: str, value: float, unit: str, cost: Cost, ratio: float | None, of: str) -> Figure:
    return Figure(
        what=what, value=value, unit=unit, seconds=cost.seconds, ratio=ratio, yardstick=of
    )


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return the b of the y = a·xᵇ that is nearest to *points* (x, y): least squares in logarithms.

    One is linear, two is quadratic.
    """
    xs, ys = ([math.log(value) for value in values] for values in zip(*points, strict=True))
    x, y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    above = math.fsum((one - x) * (other - y) for one, other in zip(xs, ys, strict=True))
    return above / math.fsum((one - x) ** 2 for one in xs)
