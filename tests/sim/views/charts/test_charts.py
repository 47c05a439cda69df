"""Charts: what they show of the numbers, how they are written, and what cannot harm them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.messages import EpisodeEnded, EpisodeStarted
from sim.analysis.compare import compare
from sim.analysis.comparison import Comparison
from sim.analysis.curves import curves
from sim.analysis.outcomes import read_outcomes
from sim.analysis.trend import Trend
from sim.views.charts.comparison import USERS, against, forest, learning, profiles
from sim.views.charts.course import course
from sim.views.charts.look import PALETTE, Spec, titled
from sim.views.charts.plane import Points, memory_map
from sim.views.charts.writing import drawn, form_of, write_chart
from sim.views.web.assets import assets
from tests.support.small import recorded

PLANTED = '<script>alert(1)</script> "id="clip1" 3.14159'


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two agents, under one seed, tested twice."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        recorded(folder / name, agent=name, test_episodes=3, test_every=2).path
        for name in ("act-only", "random")
    ]


@pytest.fixture(scope="module")
def found(runs: list[Path]) -> Comparison:
    return compare(runs)


def rows(spec: Spec) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = spec["datasets"]["rows"]
    return told


def scattered(title: str) -> Spec:
    """A map of some points."""
    places = np.arange(12.0).reshape(6, 2) / 7
    worths = np.array([0.5, -0.5, np.nan, 0, 1, -1])
    return titled(memory_map([Points(title, places, worths, (0.5, 0.25))], 1.0), title)


def test_a_forest_has_a_row_for_each_interval(found: Comparison) -> None:
    """Of one seed there is none over seeds."""
    (pair,) = found.pairs
    (row,) = rows(forest(found))
    assert row["of"] == USERS
    assert (row["mean"], row["low"]) == (pair.difference.mean, pair.difference.users.low)


def test_a_curve_has_a_point_for_each_test(runs: list[Path]) -> None:
    told = curves([read_outcomes(run) for run in runs], "r_traj")
    shown = rows(learning(told))
    assert [row["trained"] for row in shown] == [p.trained for one in told for p in one.points]
    assert {row["label"] for row in shown} == {"act-only", "random"}


def test_a_profile_is_that_of_each_group(found: Comparison) -> None:
    shown = rows(profiles(found.aggregates, found.measure))
    points = [point for group in found.aggregates.groups for point in group.profile]
    assert [row["share"] for row in shown] == [point.share.value for point in points]


def test_a_visit_is_a_point_that_says_who_got_more() -> None:
    told = [{"user": 1, "session": 0, "one": 2.0, "other": 3.0, "place": 0}]
    spec = against(told, "a", "b", "r_traj")
    assert rows(spec)[0]["more"] == "other"
    assert spec["datasets"]["equal"] == [{"low": 2.0, "high": 3.0}]


def test_a_course_has_no_chart_of_what_is_not_known() -> None:
    trend = Trend()
    for message in (
        EpisodeStarted(user=0, session=0, arrival=0, history=(), memories=()),
        EpisodeEnded(length=2, reward=1.0, reason="limit"),
    ):
        trend.hear(message)
    trend.finish()
    assert [*course(trend.points())] == ["rewards", "reasons"]
    assert course(Trend().points()) == {}


@pytest.mark.parametrize("form", ["svg", "png"])
def test_a_chart_is_the_same_bytes_every_time(found: Comparison, form: str) -> None:
    """Whatever was drawn between, whose names of clips count on."""
    one = drawn(scattered("states"), form)
    drawn(forest(found), form)
    assert drawn(scattered("states"), form) == one


@pytest.mark.slow
def test_a_chart_is_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    code = (
        "from tests.sim.views.charts.test_charts import scattered\n"
        "from sim.views.charts.writing import write_chart\n"
        "import sys, pathlib\n"
        "write_chart(scattered('states'), pathlib.Path(sys.argv[1]))"
    )
    path = tmp_path / "a.svg"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.read_bytes() == drawn(scattered("states"), "svg")


def test_titles_are_text_in_a_drawing() -> None:
    """No markup, and none of its digits is taken for a length."""
    text = drawn(scattered(PLANTED), "svg").decode()
    assert "<script" not in text
    assert "3.14159" in re.sub(r"&quot;", '"', text)


@pytest.mark.parametrize(
    ("name", "opening"),
    [("a.svg", b"<svg"), ("a.png", b"\x89PNG"), ("a.PDF", b"%PDF"), ("a.html", b"<!DOCTYPE")],
)
def test_a_chart_is_written_in_the_form_of_its_name(
    tmp_path: Path, name: str, opening: bytes
) -> None:
    write_chart(scattered("states"), tmp_path / name)
    assert (tmp_path / name).read_bytes().strip().startswith(opening)


def test_another_form_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected a file named \.svg, \.png, \.pdf or \.html"):
        form_of(Path("a.gif"))


def test_paper_has_the_colours_of_the_pages() -> None:
    """By daylight: a series has one colour wherever it is drawn."""
    look = assets()["look.css"].body.decode()
    assert tuple(re.findall(r"--c\d: light-dark\((#\w+)", look)) == PALETTE
