"""OpenTelemetry goes where its standard variables say, and nobody is waited for in vain."""

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from structlog.testing import capture_logs

from engine.errors import ConfigError
from sim.config.layers import configured
from sim.metrics.summary import Summary
from sim.runs.run import run
from sim.views.exporting import Exporting, exporting
from sim.views.telemetry import TelemetryView
from tests.support.small import SMALL, Failing


def measured(out: Path, model: object = None) -> tuple[Summary, dict[str, list[object]]]:
    """Run and return the data points of its metrics by name."""
    reader = InMemoryMetricReader()
    view = TelemetryView(Exporting(None, MeterProvider([reader], shutdown_on_exit=False)))
    summary = run(configured(SMALL), out=out, model=model, views=[view])  # type: ignore[arg-type]
    data = reader.get_metrics_data()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    return summary, {one.name: list(one.data.data_points) for one in metrics}


def test_metrics_are_those_of_the_run(tmp_path: Path) -> None:
    summary, points = measured(tmp_path / "run")
    totals = {
        name: sum(point.value for point in points[name])  # type: ignore[attr-defined]
        for name in ("billp.steps", "billp.episodes")
    }
    assert totals == {
        "billp.steps": summary.metrics.steps,
        "billp.episodes": summary.metrics.episodes,
    }
    durations = points["gen_ai.client.operation.duration"]
    assert sum(point.count for point in durations) == summary.calls  # type: ignore[attr-defined]
    tokens = points["gen_ai.client.token.usage"]
    assert sum(point.sum for point in tokens) == summary.tokens  # type: ignore[attr-defined]


def test_failures_are_measured_as_such(tmp_path: Path) -> None:
    """Of the call, with its kind, and of its episode."""
    _, points = measured(tmp_path / "run", Failing())
    outcomes = {
        point.attributes["billp.outcome"]: point.value  # type: ignore[attr-defined]
        for point in points["billp.episodes"]
    }
    assert outcomes["failed"] == 1
    kinds = [
        point.attributes.get("error.type")  # type: ignore[attr-defined]
        for point in points["gen_ai.client.operation.duration"]
    ]
    assert set(kinds) == {None, "server"}


@pytest.mark.parametrize(("traces", "metrics"), [("none", "console"), ("console", "none")])
def test_each_is_sent_where_the_environment_says(
    traces: str, metrics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", traces)
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", metrics)
    to = exporting()
    assert (to.traces is None, to.metrics is None) == (traces == "none", metrics == "none")
    to.close()


@pytest.mark.slow  # a process: the SDK takes the console as it is when it is imported
def test_the_console_has_metrics_and_no_spans(tmp_path: Path) -> None:
    said = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "console"}
    command = [sys.executable, "-m", "billp", "run", "--episodes", "2", "--quiet", "--otel"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "run")],
        capture_output=True,
        check=True,
        env={**os.environ, **said},
    )
    scope = json.loads(done.stdout)["resource_metrics"][0]["scope_metrics"][0]
    assert {"billp.episodes", "gen_ai.client.token.usage"} <= {m["name"] for m in scope["metrics"]}
    assert done.stderr == b""


def test_telemetry_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert exporting() == Exporting(None)


def test_unknown_exporters_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "pigeon")
    with pytest.raises(ConfigError, match="OTEL_TRACES_EXPORTER: there is no exporter 'pigeon'"):
        exporting()


class Stuck(SpanExporter):
    """Takes spans for ever, until it is told to stop."""

    def __init__(self) -> None:
        self.stopped = Event()

    def export(self, spans: object) -> SpanExportResult:
        self.stopped.wait()
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.stopped.set()


def test_a_collector_that_takes_nothing_is_given_up(tmp_path: Path) -> None:
    """It is said, and its exporter is stopped: else this test would never end."""
    stuck = Stuck()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(stuck))
    provider.get_tracer("test").start_span("one").end()
    with capture_logs() as logs:
        Exporting(provider, stops=[stuck.shutdown]).close(seconds=0.05)
    assert stuck.stopped.is_set()
    assert [entry["event"] for entry in logs] == ["telemetry was not taken"]
