"""Run directories: who may write, and what a run was."""

import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from engine.errors import RunDirectoryError
from storage.runs import RUNS, RunDirectory, new_run, open_run, write_whole

HOLD = """
import pathlib, sys
from storage.runs import RunDirectory
with RunDirectory(pathlib.Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""
MAKE = """
from storage.runs import new_run
print(flush=True)
input()
for _ in range(50):
    print(new_run(None, "world-billp").path)
"""


@contextmanager
def holding(run: RunDirectory) -> Iterator["subprocess.Popen[str]"]:
    """Let another process hold the lock of *run*."""
    command = [sys.executable, "-c", HOLD, str(run.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return new_run(tmp_path / "run", "world")


def test_two_processes_never_write_one_run(run: RunDirectory) -> None:
    """Whoever comes second is told so at once; when the first is done, the next may write."""
    with holding(run), pytest.raises(RunDirectoryError, match="run: another process"), run.locked():
        pass
    with run.locked():
        pass


def test_a_killed_process_holds_nothing(run: RunDirectory) -> None:
    """A run can be resumed right after a crash."""
    with holding(run) as process:
        process.kill()
        process.wait()
        with run.locked():
            pass


def test_a_lock_ends_with_an_error(run: RunDirectory) -> None:
    with pytest.raises(KeyError), run.locked():
        raise KeyError
    with run.locked():
        pass


def test_whoever_waits_for_a_lock_waits_for_all(run: RunDirectory) -> None:
    """The file of the lock is the same one for everybody, also after it was released."""
    with run.locked():
        waiting = os.open(run.path / ".lock", os.O_RDWR)
    fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(RunDirectoryError, match="another process"), run.locked():
        pass
    os.close(waiting)


def test_a_directory_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = RunDirectory(tmp_path / "file")
    with pytest.raises(RunDirectoryError, match="file: cannot be written: "), run.locked():
        pass


def test_runs_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is not told where to go takes the next free number of its name."""
    monkeypatch.chdir(tmp_path)
    names = [new_run(None, name).path for name in ("a-billp", "a-billp", "a-random", "a-billp")]
    assert names == [RUNS / name for name in ("a-billp-1", "a-billp-2", "a-random-1", "a-billp-3")]
    assert all(name.is_dir() for name in names)


def test_runs_that_start_together_get_directories_of_their_own(tmp_path: Path) -> None:
    """Two processes never get the same number."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    paths = [path for process in processes for path in process.communicate()[0].split()]
    assert len(paths) == len(set(paths)) == 150


def test_a_place_for_runs_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, or a link to nowhere, in the place of the directory of runs."""
    monkeypatch.chdir(tmp_path)
    RUNS.parent.mkdir()
    RUNS.symlink_to("nowhere")
    with pytest.raises(RunDirectoryError, match=f"{RUNS}: cannot be written: "):
        new_run(None, "world")


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    """Also one that is there already, or whose parents are not."""
    assert new_run(tmp_path, "world").path == tmp_path
    assert new_run(tmp_path / "deep" / "down", "world").path.is_dir()


def test_a_run_is_never_overwritten(run: RunDirectory) -> None:
    """A directory with a run in it is refused, with what to do instead."""
    run.write_config({"seed": 1})
    with pytest.raises(RunDirectoryError, match="run: the output directory holds another run") as e:
        new_run(run.path, "world")
    assert "billp resume" in e.value.hint
    assert run.read_config() == {"seed": 1}


def test_other_files_are_never_overwritten(tmp_path: Path) -> None:
    """A directory of something else, or a file, is refused."""
    (tmp_path / "thesis.tex").write_text("…")
    for path in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(RunDirectoryError, match="the output directory is not empty"):
            new_run(path, "world")


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match=r"file/run: cannot be made: Not a directory"):
        new_run(tmp_path / "file" / "run", "world")


def test_only_a_run_is_opened(run: RunDirectory) -> None:
    """A directory without run.toml is none; the hint says what one is."""
    with pytest.raises(RunDirectoryError, match="run: not a run directory") as caught:
        open_run(run.path)
    assert "billp runs" in caught.value.hint
    run.write_config({})
    assert open_run(run.path) == run


def test_a_configuration_is_read_as_it_was_written(run: RunDirectory) -> None:
    settings = {
        "seed": 7,
        "dwell": [5.0, 60.5],
        "prompts": True,
        "model": 'a "b"\nc',
        "quit": {"window": 4},
    }
    run.write_config(settings)
    assert run.read_config() == settings


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe"])
def test_a_broken_configuration_is_named(run: RunDirectory, content: bytes) -> None:
    run.config.write_bytes(content)
    with pytest.raises(RunDirectoryError, match=r"run\.toml: cannot be read: "):
        run.read_config()


def test_a_missing_configuration_means_no_run(run: RunDirectory) -> None:
    with pytest.raises(RunDirectoryError, match="run: not a run directory"):
        run.read_config()


def test_a_summary_is_read_as_it_was_written(run: RunDirectory) -> None:
    """A struct or a dictionary, and readable for people."""

    class Told(msgspec.Struct):
        digest: str
        len: float

    run.write_summary(Told(digest="ab", len=2.5))
    assert run.read_summary() == {"digest": "ab", "len": 2.5}
    assert run.summary.read_text() == '{\n  "digest": "ab",\n  "len": 2.5\n}\n'
    run.write_summary({"digest": "cd"})
    assert run.read_summary() == {"digest": "cd"}


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"a":"\xff"}'])
def test_an_unfinished_run_has_no_summary(run: RunDirectory, content: bytes | None) -> None:
    """Missing or broken: the hint says how to finish the run."""
    if content is not None:
        run.summary.write_bytes(content)
    with pytest.raises(RunDirectoryError, match=r"summary\.json: cannot be read") as caught:
        run.read_summary()
    assert "billp resume" in caught.value.hint


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    """A full disk leaves what was there."""
    path = tmp_path / "summary.json"
    write_whole(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(RunDirectoryError, match=r"summary\.json: cannot be written: "):
            write_whole(path, b"new" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    write_whole(path, b"new" * 100)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
