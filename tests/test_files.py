"""Append-only files: what was written stays, and what cannot be written is said."""

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import FileError
from storage import files
from storage.files import AppendOnly, Durability


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond *size* bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows when a file is forced to the disk; a write is at 10, 10.5, 11, …"""
    calls: list[int] = []
    clock = iter([10.0, 10.5, 11.0, 11.5])
    monkeypatch.setattr(files, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(os, "fsync", calls.append)
    return calls


@given(parts=st.lists(st.binary(max_size=50)))
@settings(deadline=None)
def test_a_file_is_its_writes_in_order(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("files") / "file"
    file = AppendOnly(path, "none")
    for part in parts:
        file.write(part)
    assert path.read_bytes() == b"".join(parts)
    file.close()


def test_writing_begins_anew_unless_a_start_is_given(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"what was there before")
    AppendOnly(path, "none").close()
    assert path.read_bytes() == b""


def test_what_stands_after_the_start_is_cut_off(tmp_path: Path) -> None:
    """Resuming goes on after the last whole line; a torn one is gone at once."""
    path = tmp_path / "file"
    path.write_bytes(b"whole\nto")
    file = AppendOnly(path, "none", start=6)
    assert path.read_bytes() == b"whole\n"
    file.write(b"more\n")
    file.close()
    assert path.read_bytes() == b"whole\nmore\n"


def test_a_killed_process_loses_nothing_it_wrote(tmp_path: Path) -> None:
    """Even where nothing is forced to the disk, a write is safe from the end of its process."""
    code = (
        "import os, pathlib, signal, sys; from storage.files import AppendOnly;"
        "AppendOnly(pathlib.Path(sys.argv[1]), 'none').write(b'x' * 100_000);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    died = subprocess.run([sys.executable, "-c", code, str(tmp_path / "file")], check=False)
    assert died.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == b"x" * 100_000


@pytest.mark.parametrize(
    ("durability", "expected"), [("none", [0, 0, 0, 0]), ("interval", [1, 1, 2, 2])]
)
def test_durability_says_when_the_disk_is_awaited(
    tmp_path: Path, forced: list[int], durability: Durability, expected: list[int]
) -> None:
    """Never, or once a second."""
    file = AppendOnly(tmp_path / "file", durability)
    counts = []
    for _ in expected:
        file.write(b"line\n")
        counts.append(len(forced))
    assert counts == expected
    file.close()
    assert len(forced) == (expected[-1] + 1 if durability == "interval" else 0)


def test_every_call_can_be_forced_to_the_disk(tmp_path: Path, forced: list[int]) -> None:
    file = AppendOnly(tmp_path / "file", "call")
    for written in (1, 2, 3):
        file.write(b"line\n")
        assert len(forced) == written
    file.close()


def test_a_full_disk_keeps_what_was_written(tmp_path: Path) -> None:
    """The error names the file and says what to do; half a line does not stay."""
    file = AppendOnly(tmp_path / "file", "none")
    file.write(b"first\n")
    with disk_of(10), pytest.raises(FileError, match="file: cannot be written: ") as caught:
        file.write(b"second\n")
    assert "resume the run" in caught.value.hint
    file.write(b"third\n")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"first\nthird\n"


def test_a_disk_that_fails_on_closing_is_said_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems tell of a full disk only now; the file is closed all the same."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = AppendOnly(tmp_path / "file")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="cannot be written: No space left on device"):
        file.close()
    assert file.closed


@pytest.mark.parametrize("start", [0, 5])
def test_a_path_that_cannot_be_opened_is_named(tmp_path: Path, start: int) -> None:
    path = tmp_path / "missing" / "file"
    with pytest.raises(FileError, match="missing/file: cannot be written: No such file"):
        AppendOnly(path, start=start)


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    file = AppendOnly(tmp_path / "file")
    assert not file.closed
    file.close()
    file.close()
    assert file.closed
