"""OpenTelemetry: every episode, step and call is a span, and no word of a prompt leaves."""

from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from engine.errors import ServiceError
from sim.config.layers import configured
from sim.metrics.summary import Summary
from sim.runs.run import run
from sim.views.exporting import Exporting
from sim.views.telemetry import TelemetryView
from tests.support.small import SMALL, Counted, Failing, Refusing

Spans = tuple[ReadableSpan, ...]


def watched(out: Path, model: object = None) -> tuple[Summary, Spans]:
    """Run and return the spans of it."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    view = TelemetryView(Exporting(provider))
    summary = run(configured(SMALL), out=out, model=model, views=[view])  # type: ignore[arg-type]
    return summary, exporter.get_finished_spans()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Spans]:
    return watched(tmp_path_factory.mktemp("watched") / "run")


def test_there_is_a_span_for_everything(recorded: tuple[Summary, Spans]) -> None:
    summary, spans = recorded
    kinds = Counter(span.name for span in spans)
    assert kinds == {
        "run": 1,
        "episode": summary.metrics.episodes,
        "step": summary.metrics.steps,
        "chat embedded": summary.calls,
    }


def test_spans_lie_within_those_above(recorded: tuple[Summary, Spans]) -> None:
    """Each episode is a trace; a call of a step lies in the step."""
    _, spans = recorded
    known = {span.context.span_id: span for span in spans if span.context}
    for span in spans:
        above = known[span.parent.span_id] if span.parent else None
        assert (above is None) == (span.name in {"run", "episode"})
        if above is not None:
            assert above.start_time is not None
            assert span.start_time is not None
            assert above.start_time <= span.start_time


def test_calls_speak_the_conventions(recorded: tuple[Summary, Spans]) -> None:
    summary, spans = recorded
    calls = [span.attributes or {} for span in spans if span.name == "chat embedded"]
    assert {call["gen_ai.agent.name"] for call in calls} == {
        *("planner", "actor", "critic", "reflector")
    }
    assert {call["gen_ai.operation.name"] for call in calls} == {"chat"}
    tokens = [int(str(call["gen_ai.usage.input_tokens"])) for call in calls]
    assert sum(tokens) == summary.prompt_tokens
    said = [str(value) for call in calls for value in call.values()]
    assert not any("recommend" in value or "##" in value for value in said)


def test_the_run_says_what_access_took(tmp_path: Path) -> None:
    """Attempts, failed ones by kind, retries, and the limits in the end."""
    model = Refusing()
    summary, spans = watched(tmp_path / "run", model)
    (said,) = [dict(span.attributes or {}) for span in spans if span.name == "run"]
    refused, attempts = len(model.refused), summary.calls + len(model.refused)
    assert (said["billp.calls"], said["billp.attempts"]) == (summary.calls, attempts)
    assert said["billp.attempts.failed.rate_limit"] == said["billp.retries"] == refused
    assert said["billp.limit.concurrency"] == summary.access.concurrency


def test_failures_are_errors(tmp_path: Path) -> None:
    """Of the call, with its kind, and of its episode."""
    _, spans = watched(tmp_path / "run", Failing())
    bad = [span for span in spans if span.status.status_code is StatusCode.ERROR]
    assert Counter(span.name for span in bad) == {"chat embedded": 1, "episode": 1}
    assert [(span.attributes or {}).get("error.type") for span in bad] == ["server", None]


def test_episodes_without_a_call_are_told(tmp_path: Path) -> None:
    """Baselines ask no model."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    config = configured(SMALL, {"agent": "random"})
    run(config, out=tmp_path / "run", views=[TelemetryView(Exporting(provider))])
    names = Counter(span.name for span in exporter.get_finished_spans())
    assert names["episode"] == config.episodes
    assert names["step"] >= config.episodes


def test_a_run_that_stops_still_tells(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with pytest.raises(ServiceError):
        run(
            configured(SMALL),
            out=tmp_path / "run",
            model=Counted(5),
            views=[TelemetryView(Exporting(provider))],
        )
    spans = exporter.get_finished_spans()
    assert sum(span.name == "chat embedded" for span in spans) == 5
    assert any(span.status.description == "the run stopped" for span in spans)
