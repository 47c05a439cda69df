"""What commands that run say: progress, a table, or JSON."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from engine.errors import FailedEpisodesError
from sim.commands.browser import web_pages
from sim.commands.logs import LogFormat, LogLevel, log_to_stderr
from sim.experiments.estimate import Estimate
from sim.metrics.failures import Failure, in_words
from sim.metrics.summary import Summary
from sim.runs.stopping import resuming
from sim.runs.watching import Onlooker, load_views
from sim.views.console import plain, write_json
from sim.views.estimate import estimate_page
from sim.views.logging import LogView
from sim.views.progress import ProgressView
from sim.views.report import report
from storage.parts import lacking, of_extra


@dataclass(frozen=True)
class ShownOptions:
    """Who listens, and what is said in the end."""

    listener: Annotated[
        list[str] | None,
        typer.Option(help="A listener or follower of your own.", metavar="MODULE:CLASS"),
    ] = None
    view: Annotated[
        list[str] | None,
        typer.Option(
            help="prometheus, tensorboard, mlflow, wandb (extras), or a view of your own.",
            metavar="NAME",
        ),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no table.")] = False
    log_format: Annotated[
        LogFormat | None,
        typer.Option(help="How events are logged to standard error.", show_default="text"),
    ] = None
    log_level: Annotated[
        LogLevel | None,
        typer.Option(
            help="Which events are: debug tells every call.", show_default="warning; json: info"
        ),
    ] = None
    otel: Annotated[
        bool, typer.Option("--otel", help="Send OpenTelemetry spans and metrics (extra: otel).")
    ] = False
    dashboard: Annotated[
        bool,
        typer.Option("--dashboard", help="Show it in a browser while it runs (extra: view)."),
    ] = False
    dashboard_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="The port of the dashboard; 0 is a free one.")
    ] = 0
    prometheus_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help="Serve Prometheus metrics at a port of 127.0.0.1 (extra: prometheus).",
        ),
    ] = None


Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Let a run from elsewhere name services, files of keys and a cache."
    ),
]


def views(shown: ShownOptions) -> list[Onlooker]:
    """Return what shows the run while it runs, with the log as it was asked for."""
    form = shown.log_format or "text"
    level = shown.log_level or ("warning" if shown.log_format is None else "info")
    log_to_stderr(form, level)
    chosen: list[Onlooker] = []
    if not shown.quiet and form == "text":
        chosen.append(ProgressView())
    if level in {"debug", "info"}:
        chosen.append(LogView(calls=level == "debug"))
    if shown.otel:
        telemetry = of_extra("sim.views.telemetry", "otel", "--otel")
        chosen.append(_exporting(telemetry))
    if shown.dashboard or shown.dashboard_port:
        chosen.append(web_pages("--dashboard").DashboardView(shown.dashboard_port))
    if shown.prometheus_port is not None:
        prometheus = of_extra("sim.views.prometheus", "prometheus", "--prometheus-port")
        chosen.append(prometheus.PrometheusView(shown.prometheus_port))
    return [*chosen, *load_views(shown.view or [])]


def _exporting(telemetry: Any) -> Onlooker:
    """Return a view that sends spans; what sends them is imported when it is named, by now."""
    try:
        view: Onlooker = telemetry.TelemetryView()
    except ModuleNotFoundError as error:
        raise lacking("otel", "--otel", error) from error
    return view


def tell(summary: Summary, shown: ShownOptions) -> None:
    """Write the summary to standard output as was asked; raises FailedEpisodesError as the last."""
    if shown.json:
        write_json(summary.flat())
    elif not shown.quiet:
        plain().print(report(summary), crop=False)
    sys.stdout.flush()  # what failed comes last, wherever both go
    check_failed(Path(summary.run), summary.all_episodes, summary.failures)


def check_failed(run: Path, well: int, failures: Sequence[Failure]) -> None:
    """Raise FailedEpisodesError if episodes of a *run* failed beside those that ended *well*."""
    failed = sum(failure.episodes for failure in failures)
    if not failed:
        return
    hint = f"see what happened: billp show {quote(str(run))} {failures[0].first}"
    if any(failure.role for failure in failures):
        hint = f"ask failed calls again: {resuming(run)} --retry-failed"
    raise FailedEpisodesError(in_words(failed, well + failed, failures), hint=hint)


def tell_estimate(estimate: Estimate, shown: ShownOptions) -> None:
    """Write what a run is expected to come to."""
    if shown.json:
        write_json(estimate)
    else:
        plain().print(estimate_page(estimate), crop=False)
