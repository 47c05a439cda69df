"""How a run goes, block by block: as a table, and as rows for charts that may grow."""

from dataclasses import dataclass

from sim.analysis.trend import TraceTrend, Trend, TrendPoint
from sim.views.charts.course import course_rows
from sim.views.charts.look import Row
from sim.views.web.opened import Opened
from sim.views.web.page import Asked, Page


@dataclass(frozen=True)
class TrendFacts:
    """The blocks of a run, and why no categories are told, if none are."""

    run: str
    points: tuple[TrendPoint, ...]
    rows: dict[str, list[Row]]
    why: str


def trend_page(asked: Asked) -> Page:
    """Return how a run goes."""
    opened, ledger = Opened(asked.directory), asked.ledger
    kept, why = asked.kept.trend(opened.directory, lambda: _trend(opened))
    points = kept.refresh(ledger)
    return Page("trend.html", TrendFacts(asked.run, points, course_rows(points), why))


def _trend(opened: Opened) -> tuple[TraceTrend, str]:
    world, why = opened.world
    if world is None:
        return TraceTrend(Trend()), why
    names = world.catalog.categories
    return TraceTrend(Trend(lambda item: names[item] if 0 <= item < len(names) else ())), ""
