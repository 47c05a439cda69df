"""What the real packages read back of a run: the same numbers, the settings, the digest.

Their folders are the only places they write to, and none of them needs a network.
"""

import json
import struct
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from engine.errors import ServiceError
from sim.config.layers import configured
from sim.metrics.summary import Summary
from sim.runs.resume import resume
from sim.runs.run import run
from sim.runs.watching import load_views
from storage.manifest import read_manifest
from storage.runs import RunDirectory
from tests.support.small import SMALL, Counted

Values: TypeAlias = dict[str, Any]

pytestmark = pytest.mark.slow  # needs the extras, which only the slow tests have


PATIENCE = 30.0  # seconds


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def package(name: str) -> Any:
    """Return a module of an extra's; mypy need not have it."""
    return import_module(name)


def events_of(directory: Path) -> Any:
    module = package("tensorboard.backend.event_processing.event_accumulator")
    return module.EventAccumulator(str(directory / "tensorboard")).Reload()


def mlflow_at(place: Path) -> Any:
    return package("mlflow.tracking").MlflowClient(tracking_uri=(place / "mlruns").as_uri())


def tracked(name: str) -> Summary:
    package("prometheus_client" if name == "prometheus" else name)
    return run(configured(SMALL), out="run", views=load_views([name]))


def test_tensorboard_reads_what_was_written(here: Path) -> None:
    summary = tracked("tensorboard")
    events = events_of(here / "run")
    points = events.Scalars("train/r_traj")
    assert [point.step for point in points] == list(range(6))
    assert points[-1].value == pytest.approx(summary.metrics.r_traj, abs=1e-3)
    (final,) = events.Scalars("summary/r_traj")
    assert final.value == pytest.approx(summary.metrics.r_traj, abs=1e-3)
    (digest,) = events.Tensors("run/digest")
    assert digest.tensor_proto.string_val == [summary.digest.encode()]
    (limit,) = events.Tensors("config/limit")
    assert limit.tensor_proto.string_val == [b"7"]
    assert events.SummaryMetadata("run/digest").plugin_data.plugin_name == "text"


def test_tensorboard_shows_a_resumed_run_once(here: Path) -> None:
    """What the run had told before it was stopped is told again, and counts once."""
    with pytest.raises(ServiceError):
        run(configured(SMALL), out="run", model=Counted(60), views=load_views(["tensorboard"]))
    resume(here / "run", views=load_views(["tensorboard"]))
    events = events_of(here / "run")
    assert [point.step for point in events.Scalars("train/reward")] == list(range(6))


def test_event_files_are_listed_in_the_manifest(here: Path) -> None:
    """They are closed by then: a run verifies that has them."""
    tracked("tensorboard")
    manifest, _ = read_manifest(RunDirectory(here / "run"))
    (name,) = [name for name in manifest.files if name.startswith("tensorboard/")]
    assert manifest.files[name].size == (here / "run" / name).stat().st_size


def test_mlflow_reads_what_was_written(here: Path) -> None:
    summary = tracked("mlflow")
    client = mlflow_at(here)
    experiment = client.get_experiment_by_name("billp")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert (kept.info.run_name, kept.info.status) == ("run", "FINISHED")
    assert kept.data.tags["billp.digest"] == summary.digest
    assert kept.data.params["limit"] == "7"
    assert kept.data.metrics["summary/r_traj"] == summary.metrics.r_traj
    told = client.get_metric_history(kept.info.run_id, "train/reward")
    assert [point.step for point in told] == list(range(6))


def test_mlflow_knows_a_run_that_was_stopped(here: Path) -> None:
    with pytest.raises(ServiceError):
        run(configured(SMALL), out="run", model=Counted(60), views=load_views(["mlflow"]))
    client = mlflow_at(here)
    (kept,) = client.search_runs([client.get_experiment_by_name("billp").experiment_id])
    assert kept.info.status == "KILLED"


def test_wandb_reads_what_was_written(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Offline, without a word."""
    summary = tracked("wandb")
    (file,) = here.glob("wandb/offline-run-*/run-*.wandb")
    history, final, config, tags = read_wandb(file)
    assert [row["episode"] for row in history] == list(range(6))
    assert history[-1]["train/r_traj"] == pytest.approx(summary.metrics.r_traj, abs=1e-3)
    assert final["digest"] == summary.digest
    assert final["summary/r_traj"] == summary.metrics.r_traj
    assert config["limit"] == 7
    assert "agent:billp" in tags
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def read_wandb(file: Path) -> tuple[list[Values], Values, Values, list[str]]:
    """Return history, summary, configuration and tags of a run, by W&B's own messages."""
    history: list[Values] = []
    final: Values = {}
    config: Values = {}
    tags: list[str] = []
    for record in whole_log(file):
        if record.HasField("history"):
            history.append(values_of(record.history.item))
        final |= values_of(record.summary.update)
        if record.HasField("run"):
            config |= values_of(record.run.config.update)
            tags = [*record.run.tags]
    return history, final, config, tags


def whole_log(file: Path) -> list[Any]:
    """Return the records of a run that has ended: W&B's own process may write a little longer."""
    messages = package("wandb.proto.wandb_internal_pb2")
    end = time.monotonic() + PATIENCE
    while True:
        records = [messages.Record.FromString(data) for data in logged(file.read_bytes())]
        if any(record.HasField("exit") for record in records):
            return records
        assert time.monotonic() < end
        time.sleep(0.05)


def logged(data: bytes) -> Iterator[bytes]:
    """Yield the records of a file in LevelDB's log format, after the seven bytes of W&B's."""
    assert data.startswith(b":W&B")
    block, header, at, record = 32_768, 7, 7, b""
    while at + header <= len(data):
        if block - at % block < header:  # the end of a block that holds no header is empty
            at += block - at % block
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        record += data[at + header : at + header + size]
        at += header + size
        if kind in {1, 4}:  # whole, or the last part
            yield record
            record = b""


def values_of(items: Any) -> Values:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb", "prometheus"])
def test_views_leave_no_mark(name: str, here: Path) -> None:
    """The trace is that of a run nobody watched."""
    plain = run(configured(SMALL), out="plain")
    assert tracked(name).digest == plain.digest
