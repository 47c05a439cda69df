"""Append-only files: what was written stays, and what cannot be written is said."""

import errno
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import FileError
from storage import files
from storage.files import AppendOnly, Durability, HeldBack, lost


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond *size* bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@dataclass
class Clocked:
    """What was forced to the disk: files by their number; *now* is the time in seconds."""

    now: float = 10.0
    calls: list[int] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> Clocked:
    clocked = Clocked()
    monkeypatch.setattr(files, "time", clocked)
    monkeypatch.setattr(files.disk, "force", clocked.calls.append)
    return clocked


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
    ("durability", "expected"),
    [("none", [0, 0, 0, 0]), ("interval", [1, 1, 2, 2]), ("call", [1, 2, 3, 4])],
)
def test_durability_says_when_the_disk_is_awaited(
    tmp_path: Path, forced: Clocked, durability: Durability, expected: list[int]
) -> None:
    """Never, once a second, or at every write; in the end unless never."""
    file = AppendOnly(tmp_path / "file", durability)
    forced.calls.clear()
    counts = []
    for _ in expected:
        file.write(b"line\n")
        counts.append(len(forced.calls))
        forced.now += 0.5
    assert counts == expected
    file.close()
    assert len(forced.calls) == expected[-1] + (durability == "interval")


def test_what_is_cut_off_does_not_come_back(tmp_path: Path, forced: Clocked) -> None:
    """It is off the disk before anything is written in its place."""
    path = tmp_path / "file"
    path.write_bytes(b"whole\nto")
    file = AppendOnly(path, start=6)
    assert len(forced.calls) == 1
    file.write(b"line\n")
    file.cut(6)
    assert (path.read_bytes(), len(forced.calls)) == (b"whole\n", 3)
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
    for _ in range(2):  # the second waits to be forced
        file.write(b"line\n")
    monkeypatch.setattr(files.disk, "force", full)
    with pytest.raises(FileError, match="cannot be written: No space left on device"):
        file.close()
    assert file.closed


def test_a_file_that_could_not_be_forced_takes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may have forgotten what it could not write, and say next time that all is well."""
    file = AppendOnly(tmp_path / "file", "call")

    def broken(_: int) -> None:
        monkeypatch.undo()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files.disk, "force", broken)
    for _ in range(2):
        with pytest.raises(FileError, match="cannot be written: Input/output error"):
            file.write(b"line\n")
    file.close()


# -- lines that depend on others


def two_files(place: Path) -> tuple[AppendOnly, HeldBack]:
    """Return a journal and a trace with a line each, and another that is not forced yet."""
    journal, trace = (AppendOnly(place / name) for name in ("journal", "trace"))
    held = HeldBack(trace, [journal])
    for line in (b"one\n", b"two\n"):
        journal.write(line)
        held.write(line)
    return journal, held


def test_lines_come_to_the_disk_after_what_they_depend_on(tmp_path: Path, forced: Clocked) -> None:
    """Not even written: the system may bring to the disk whatever it was given."""
    journal, trace = two_files(tmp_path)
    assert trace.path.read_bytes() == b"one\n"
    forced.now += 1.0
    forced.calls.clear()
    journal.write(b"three\n")
    assert trace.path.read_bytes() == b"one\ntwo\n"
    assert len(forced.calls) == 2
    trace.close()
    journal.close()


def test_closing_writes_what_is_held_back(tmp_path: Path) -> None:
    journal, trace = two_files(tmp_path)
    trace.close()
    assert trace.path.read_bytes() == b"one\ntwo\n"
    journal.close()


def test_nothing_is_written_that_depends_on_what_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, trace = two_files(tmp_path)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files.disk, "force", broken)
    with pytest.raises(FileError, match="journal: cannot be written"):
        trace.close()
    assert trace.path.read_bytes() == b"one\n"
    journal.close()


@pytest.mark.parametrize(
    ("line", "place", "expected"),
    [
        (b"a whole line\n", 0, False),
        (b"one altered\0 byte\n", 0, False),
        (b"from here on \0\0\0then others\n", 512 - 16, True),
        (b"\0" * 512 + b"others\n", 1024, True),
        (b"twice\0\0 and\0others\n", 1024 - 7, True),
    ],
)
def test_lost_bytes_are_told_from_altered_ones(line: bytes, place: int, expected: bool) -> None:
    """What never came to the disk is zeros up to the end of a sector."""
    assert lost(line, place) is expected


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
