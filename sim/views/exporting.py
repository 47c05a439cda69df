"""Where OpenTelemetry's spans and metrics go: what its standard environment variables say.

OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER are names with commas between: otlp (the default),
console, none, or what an installed package offers; OTEL_SDK_DISABLED=true is none of all. The rest
of the variables the SDK reads itself.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from threading import Thread
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from engine.attempt import attempted, log
from engine.errors import ConfigError

_FAREWELL = 3.0  # seconds: a collector that is there takes far less
_OTLP = "otlp_proto_http"


@dataclass(frozen=True)
class Exporting:
    """Who takes spans and metrics, None if nobody does; *stops* makes exporters give up."""

    traces: TracerProvider | None
    metrics: MeterProvider | None = None
    stops: Sequence[Callable[[], None]] = ()

    def close(self, seconds: float = _FAREWELL) -> None:
        """Send what is left, and give up after so many *seconds*: then nobody is there."""
        sending = [
            Thread(target=attempted, args=(provider.shutdown,), daemon=True)
            for provider in (self.traces, self.metrics)
            if provider is not None
        ]
        for thread in sending:
            thread.start()
        for thread in sending:
            thread.join(seconds / len(sending))
        if any(thread.is_alive() for thread in sending):
            log("warning", "telemetry was not taken", seconds=seconds)
            for stop in self.stops:
                stop()


def exporting() -> Exporting:
    """Return what the environment says; raises ConfigError for an exporter that is not there."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Exporting(None)
    resource = Resource.create({SERVICE_NAME: "billp"})
    spans: list[SpanExporter] = _named("traces")
    found: list[MetricExporter | MetricReader] = _named("metrics")
    readers = [
        one if isinstance(one, MetricReader) else PeriodicExportingMetricReader(one)
        for one in found
    ]
    # Whoever is not there would be waited for once more when Python ends.
    traces = TracerProvider(resource=resource, shutdown_on_exit=False) if spans else None
    for exporter in spans:
        if traces is not None:
            traces.add_span_processor(BatchSpanProcessor(exporter))
    metrics = MeterProvider(readers, resource, shutdown_on_exit=False) if readers else None
    return Exporting(traces, metrics, [one.shutdown for one in (*spans, *found)])


def _named(kind: str) -> list[Any]:
    variable = f"OTEL_{kind.upper()}_EXPORTER"
    told = os.environ.get(variable, "").strip() or "otlp"
    names = [name.strip() for name in told.split(",")]
    return [_exporter(kind, name, variable) for name in names if name not in {"none", ""}]


def _exporter(kind: str, name: str, variable: str) -> Any:
    group = f"opentelemetry_{kind}_exporter"
    for point in entry_points(group=group, name=_OTLP if name == "otlp" else name):
        return point.load()()
    known = ", ".join(sorted({point.name for point in entry_points(group=group)} - {_OTLP}))
    hint = f"there are otlp, none, {known}"
    raise ConfigError(f"{variable}: there is no exporter {name!r}", hint=hint)
