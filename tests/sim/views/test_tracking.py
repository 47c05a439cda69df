"""Trackers are told of episodes in canonical order, and leave no mark on the trace."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from engine.errors import ConfigError, ServiceError
from sim.config.layers import configured
from sim.metrics.summary import Summary
from sim.runs.resume import resume
from sim.runs.run import run
from sim.runs.watching import EXTRAS, VIEWS, load_views
from sim.views.tracking import About, Point, TrackingView, final_values
from tests.support.small import SMALL, Counted, Failing


@dataclass
class Told:
    """A tracker that keeps what it is told."""

    about: list[About] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    ended: list[Summary | None] = field(default_factory=list)

    def begin(self, about: About) -> None:
        self.about.append(about)

    def point(self, point: Point) -> None:
        self.points.append(point)

    def end(self, summary: Summary | None) -> None:
        self.ended.append(summary)


def tracked(out: Path, model: object = None, **settings: object) -> tuple[Summary, Told]:
    told = Told()
    config = configured(SMALL, settings)
    views = [TrackingView(told)]
    return run(config, out=out, model=model, views=views), told  # type: ignore[arg-type]


def test_points_come_to_the_summary(tmp_path: Path) -> None:
    summary, told = tracked(tmp_path / "run")
    last = told.points[-1].values
    metrics = summary.metrics
    assert [point.episode for point in told.points] == list(range(metrics.episodes))
    assert last["train/r_traj"] == pytest.approx(metrics.r_traj, abs=1e-4)
    assert last["train/mean_len"] == pytest.approx(metrics.len, abs=1e-4)
    assert sum(point.values["train/tokens"] for point in told.points) == summary.tokens
    shares = [last[f"train/quits.{why}"] for why in metrics.quits]
    assert sum(shares) == pytest.approx(1.0)
    assert "train/cost" not in last  # there are no prices


def test_training_and_test_are_apart(tmp_path: Path) -> None:
    summary, told = tracked(tmp_path / "run", test_episodes=3)
    last = told.points[-1].values
    assert {name.partition("/")[0] for name in last} == {"test"}
    assert last["test/r_traj"] == pytest.approx(summary.metrics.r_traj, abs=1e-4)


def test_concurrency_changes_no_point(tmp_path: Path) -> None:
    _, one = tracked(tmp_path / "one", concurrency=1)
    _, many = tracked(tmp_path / "many", concurrency=64)
    assert one.points == many.points


def test_a_tracker_leaves_no_mark(tmp_path: Path) -> None:
    """The trace is that of a run nobody watched."""
    summary, told = tracked(tmp_path / "watched")
    plain = run(configured(SMALL), out=tmp_path / "plain")
    assert told.points
    assert summary.digest == plain.digest


def test_failed_episodes_are_counted(tmp_path: Path) -> None:
    summary, told = tracked(tmp_path / "run", Failing())
    assert (
        max(point.values["train/failed"] for point in told.points) == summary.failed_episodes == 1
    )


def test_the_end_has_summary_and_settings(tmp_path: Path) -> None:
    summary, told = tracked(tmp_path / "run")
    (ended,), (about,) = told.ended, told.about
    assert ended is not None
    assert ended.digest == summary.digest
    assert final_values(ended)["summary/r_traj"] == summary.metrics.r_traj
    assert about.tags["agent"] == summary.agent
    assert about.parameters["limit"] == 7
    assert about.name == "run"


def test_a_run_that_stops_says_so_and_tells_all_when_resumed(tmp_path: Path) -> None:
    told, again = Told(), Told()
    stopped = configured(SMALL)
    with pytest.raises(ServiceError):
        run(stopped, out=tmp_path / "run", model=Counted(60), views=[TrackingView(told)])
    assert told.ended == [None]
    resume(tmp_path / "run", views=[TrackingView(again)])
    assert len(again.points) == stopped.episodes
    assert again.points[: len(told.points)] == told.points


class Broken(Told):
    def point(self, point: Point) -> None:
        raise OSError("no room")

    def end(self, summary: Summary | None) -> None:
        raise OSError("no room")


def test_a_tracker_that_breaks_hurts_no_run(tmp_path: Path) -> None:
    with capture_logs() as logs:
        summary = run(configured(SMALL), out=tmp_path / "run", views=[TrackingView(Broken())])
    assert summary.metrics.episodes == 6
    assert [entry["event"] for entry in logs] == ["follower dropped", "view dropped"]


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_a_missing_extra_is_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, with the command that helps."""
    module = VIEWS.place(name).partition(":")[0]
    package = {"otel": "opentelemetry", "prometheus": "prometheus_client"}.get(name, name)
    for loaded in [*sys.modules]:
        if loaded == package or loaded.startswith((f"{package}.", module)):
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f"the view {name} needs the extra {name}: ") as refused:
        load_views([name])
    assert refused.value.hint == f"pip install 'billp[{name}]'"
