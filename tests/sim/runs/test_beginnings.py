"""A run that was killed before it began holds nobody up, and an orphan holds no lock."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from agents.models.serving.latency import parse_latency
from agents.models.serving.server import Behaviour
from engine.errors import RunDirectoryError
from sim.config.layers import configured
from sim.runs.fork import fork
from sim.runs.resume import resume
from sim.runs.run import run
from sim.verification.verify import verify
from storage.journal import read_journal
from storage.runs import RunDirectory
from tests.support.dying import SMALL, Death, Noted, begin, billp
from tests.support.shell import serving


def whole(directory: Path) -> bool:
    return not any(check.fault for check in verify(directory))


def left_by_a_kill(place: Path) -> RunDirectory:
    """Return the directory of a run that was killed while it wrote run.toml."""
    directory = begin(place, Noted(place.with_name("asked")), Death("run.toml"))
    (place / "run.toml.part").write_text("seed =")
    return directory


def test_a_run_can_begin_where_one_was_killed_before_it_began(tmp_path: Path) -> None:
    directory = left_by_a_kill(tmp_path / "run")
    left = {path.name for path in directory.path.iterdir()}
    assert left == {".lock", ".origin", "run.toml.part"}
    run(configured(SMALL), out=directory.path)
    assert whole(directory.path)


def test_what_never_began_cannot_be_resumed_and_says_what_can(tmp_path: Path) -> None:
    directory = left_by_a_kill(tmp_path / "run")
    with pytest.raises(RunDirectoryError, match="was killed before it began") as caught:
        resume(directory.path)
    assert caught.value.hint == "begin it again: nothing was asked yet"


def test_a_fork_can_begin_where_one_was_killed_before_it_began(tmp_path: Path) -> None:
    """It had inherited its parent's calls already, and paid for none."""
    run(configured(SMALL), out=tmp_path / "run")
    parent = RunDirectory(tmp_path / "run")
    words = ["fork", str(parent.path), "--at", "2:1", "--out", str(tmp_path / "fork"), "--quiet"]
    assert billp(parent, words, Death("run.toml")).status == -signal.SIGKILL
    assert read_journal(tmp_path / "fork" / "calls.jsonl")
    fork(parent.path, (2, 1), out=tmp_path / "fork")
    assert whole(tmp_path / "fork")


def test_paid_calls_are_never_taken_for_remains(tmp_path: Path) -> None:
    """Also if somebody has removed the configuration."""
    run(configured(SMALL), out=tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        if path.is_file() and path.name not in {"calls.jsonl", ".lock"}:
            path.unlink()
    calls = (tmp_path / "run" / "calls.jsonl").read_bytes()
    with pytest.raises(RunDirectoryError, match="is not empty"):
        run(configured(SMALL), out=tmp_path / "run")
    assert (tmp_path / "run" / "calls.jsonl").read_bytes() == calls


# -- orphans


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run billp in a process of its own, killed in the end."""
    command = [sys.executable, "-c", "from sim.cli import main; main()", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as begun:
        try:
            yield begun
        finally:
            begun.kill()


def until(path: Path) -> None:
    """Wait until a file holds anything."""
    while not path.exists() or not path.stat().st_size:
        time.sleep(0.01)


def test_the_runs_of_a_killed_experiment_end_and_it_goes_on(tmp_path: Path) -> None:
    """SIGKILL leaves no time to tell anybody: the runs see by themselves that they are orphans."""
    out = tmp_path / "e"
    slow = Behaviour(latency=parse_latency("fixed:200"))
    settings = ["--agents", "react", "--seeds", "1", "--episodes", "4", "--test-episodes", "2"]
    with serving(behaviour=slow) as url:
        service = ["model=openai/embedded", f"base_url={url}", "limit=2", "arrivals=all"]
        sets = [word for setting in service for word in ("--set", setting)]
        words = ["experiment", *settings, *sets, "--out", str(out)]
        with process(*words) as first:
            until(out / "react-seed=1" / "trace.jsonl")
            first.kill()
            first.wait()
        with process(*words) as second:
            said = second.communicate()
    assert second.returncode == 0, said
    assert b"resumed" in said[1]
    assert whole(out / "react-seed=1")


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    """As soon as nobody can write to its standard input any more; its run can be resumed."""
    slow = Behaviour(latency=parse_latency("fixed:300"))
    with serving(behaviour=slow) as url:
        words = ["run", "--quiet", "--model", "openai/embedded", "--base-url", url, "--out", "run"]
        code = "from sim.child import child; child()"
        with subprocess.Popen(
            [sys.executable, "-c", code, *words], cwd=tmp_path, stdin=PIPE, stderr=PIPE
        ) as child:
            until(tmp_path / "run" / "trace.jsonl")
            _, said = child.communicate()  # closes its standard input first
    assert child.returncode == 130
    assert b"billp resume run" in said
