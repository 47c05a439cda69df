"""A run tells which processes worked on it; none of that decides what comes of it."""

import json
from pathlib import Path

import msgspec
import pytest

from engine.errors import BudgetError
from sim.config.layers import configured, read_config
from sim.metrics.summary import read_summary
from sim.runs.resume import resume
from sim.runs.run import run
from sim.verification.verify import verify
from storage.manifest import write_manifest
from storage.provenance import Process, read_provenance
from storage.runs import RunDirectory, open_run
from tests.support.shell import Shell
from tests.support.small import SMALL, recorded

CONFIG = configured(SMALL)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return recorded(tmp_path_factory.mktemp("done") / "run")


def told(directory: RunDirectory) -> tuple[Process, ...]:
    """Return what run.toml says."""
    return read_provenance(directory.read_config())


def test_a_run_tells_who_made_it_and_when(done: RunDirectory) -> None:
    """run.toml as soon as it begins, the summary with its end."""
    (begun,), (ended,) = told(done), read_summary(done).provenance
    assert begun.ended == ""
    assert ended == msgspec.structs.replace(begun, ended=ended.ended)
    assert begun.started <= ended.ended


def test_run_toml_stays_a_configuration(done: RunDirectory, tmp_path: Path) -> None:
    """Given to --config it runs the same again."""
    again = run(configured(read_config(done.config)), out=tmp_path / "run")
    assert again.digest == read_summary(done).digest


def test_a_trace_knows_nothing_of_it(done: RunDirectory) -> None:
    assert told(done)[0].started not in done.trace.read_text()
    assert all(not check.fault for check in verify(done.path))


def test_a_resumed_run_tells_of_every_process(tmp_path: Path) -> None:
    """The first one ended when it had last written something."""
    with pytest.raises(BudgetError):
        run(msgspec.structs.replace(CONFIG, max_calls=40), out=tmp_path / "run")
    summary = resume(tmp_path / "run", settings=[{"max_calls": 0}])
    assert summary is not None
    first, second = summary.provenance
    assert first.started <= first.ended <= second.started <= second.ended
    assert [one.started for one in told(open_run(tmp_path / "run"))] == [
        first.started,
        second.started,
    ]
    assert all(not check.fault for check in verify(tmp_path / "run"))


def test_a_run_from_before_is_still_read(tmp_path: Path) -> None:
    """It says nothing of processes, in run.toml or in its summary."""
    directory = recorded(tmp_path / "run")
    settings, summary = directory.read_config(), directory.read_summary()
    del settings["provenance"], summary["provenance"], summary["access"]
    directory.write_config(settings)
    directory.write_summary(summary)
    write_manifest(directory)
    assert read_summary(directory).provenance == ()
    assert all(not check.fault for check in verify(directory.path))
    again = resume(directory.path, retry_failed=True)
    assert again is not None
    assert len(again.provenance) == 1


def test_every_line_of_the_log_names_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that those of several runs can be told apart."""
    monkeypatch.chdir(tmp_path)
    words = ("run", "--episodes", "2", "--agent", "random", "--out", "mine", "--quiet")
    said = Shell(capsys).billp(*words, "--log-format", "json")
    lines = [json.loads(line) for line in said.err.splitlines()]
    assert lines
    assert {line["run"] for line in lines} == {"mine"}
    said = Shell(capsys).billp("run", *words[1:-2], "other", "--log-level", "info")
    assert {"run=other" in line for line in said.err.splitlines()} == {True}
