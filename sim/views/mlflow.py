"""A run in MLflow: where MLFLOW_TRACKING_URI says, else in files in the folder mlruns.

The experiment is MLFLOW_EXPERIMENT_NAME, else billp. The step is the episode. Points are sent a few
hundred values at a time; the run waits for a server that is elsewhere.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# Both are read when MLflow is imported or asked: it tells nobody who uses it, and writes files,
# which is all that mlflow-skinny can without a server.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from sim.metrics.summary import Summary
from sim.views.tracking import About, Point, TrackingView, final_values

_AT_ONCE = 500  # values; MLflow takes 1,000
_PARAMETERS = 100  # that MLflow takes at once


def _place() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").absolute().as_uri()


@dataclass(eq=False)
class Mlflow:
    """Writes a run of MLflow's."""

    _client: MlflowClient = field(init=False)
    _run: str = field(init=False)
    _waiting: list[Metric] = field(default_factory=list)

    def begin(self, about: About) -> None:
        """Begin a run in the experiment, with the settings as parameters."""
        self._client = MlflowClient(tracking_uri=_place())
        experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME") or "billp")
        tags = {f"billp.{name}": value for name, value in about.tags.items()}
        begun = self._client.create_run(experiment, tags=tags, run_name=about.name)
        self._run = begun.info.run_id
        known = [Param(name, str(value)) for name, value in about.parameters.items()]
        for first in range(0, len(known), _PARAMETERS):
            self._client.log_batch(self._run, params=known[first : first + _PARAMETERS])

    def _experiment(self, name: str) -> str:
        known = self._client.get_experiment_by_name(name)
        found: str = known.experiment_id if known else self._client.create_experiment(name)
        return found

    def point(self, point: Point) -> None:
        """Keep the values of an episode until there are enough to be sent."""
        self._add(point.episode, point.values)
        if len(self._waiting) >= _AT_ONCE:
            self._send()

    def end(self, summary: Summary | None) -> None:
        """Write the summary and the digest; a run that was stopped is KILLED."""
        if summary is not None:
            self._add(0, final_values(summary))
            digest = RunTag("billp.digest", summary.digest)
            self._client.log_batch(self._run, tags=[digest])
        self._send()
        self._client.set_terminated(self._run, "KILLED" if summary is None else "FINISHED")

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        now = round(time.time() * 1_000)
        self._waiting += [Metric(name, value, now, step) for name, value in values.items()]

    def _send(self) -> None:
        while self._waiting:
            self._client.log_batch(self._run, metrics=self._waiting[:_AT_ONCE])
            del self._waiting[:_AT_ONCE]


def mlflow_view() -> TrackingView:
    """Return a view that tells MLflow."""
    return TrackingView(Mlflow())
