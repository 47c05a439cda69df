"""What commands need of the charts, in one place: it is imported where something is drawn."""

from sim.views.charts.comparison import against, forest, learning, profiles
from sim.views.charts.critique import critique_chart
from sim.views.charts.look import titled
from sim.views.charts.plane import Points, memory_map
from sim.views.charts.writing import drawn, form_of, write_chart

__all__ = [
    "Points",
    "against",
    "critique_chart",
    "drawn",
    "forest",
    "form_of",
    "learning",
    "memory_map",
    "profiles",
    "titled",
    "write_chart",
]
