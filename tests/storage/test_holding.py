"""Whether a lock is held, without taking it."""

from pathlib import Path

import pytest
from filelock import FileLock

from storage import holding
from storage.holding import is_held
from storage.runs import RunDirectory

linux = pytest.mark.skipif(
    is_held(Path(__file__)) is None, reason="this system does not tell who holds a lock"
)


@linux
def test_a_lock_is_held_until_it_is_released(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    seen = [directory.busy]
    with directory.locked():
        seen.append(directory.busy)
    assert [*seen, directory.busy] == [False, True, False]


@linux
def test_who_asks_is_in_nobodys_way(tmp_path: Path) -> None:
    """Another may take the lock while it is asked about, and sees no trace of that."""
    lock = FileLock(tmp_path / "lock")
    lock.acquire(timeout=0)
    assert is_held(tmp_path / "lock") is True
    lock.release()
    assert is_held(tmp_path / "lock") is False


def test_where_nobody_tells_it_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But what does not exist is held by nobody."""
    monkeypatch.setattr(holding, "_LOCKS", tmp_path / "locks")
    (tmp_path / "lock").touch()
    assert is_held(tmp_path / "lock") is None
    assert is_held(tmp_path / "none") is False


def test_the_same_number_on_another_device_may_be_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system laid over others has a device of its own: then it is not known."""
    (tmp_path / "lock").touch()
    inode = (tmp_path / "lock").stat().st_ino
    (tmp_path / "locks").write_text(f"1: FLOCK  ADVISORY  WRITE 7 ff:ff:{inode} 0 EOF\n")
    monkeypatch.setattr(holding, "_LOCKS", tmp_path / "locks")
    assert is_held(tmp_path / "lock") is None
