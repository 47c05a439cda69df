"""Leases: who lives, told by files alone and by nobody's clock but one's own."""

from pathlib import Path

import pytest

from engine.errors import FileError
from storage.leases import Leases

EXPIRY = 30.0


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_all_who_renew_are_counted(tmp_path: Path, clock: Clock) -> None:
    """Each by every other, from its first moment on."""
    leases = [Leases(tmp_path, expiry=EXPIRY, clock=clock) for _ in range(3)]
    assert [lease.renew() for lease in leases] == [3, 3, 3]


def test_a_lease_given_back_is_missed_at_the_second_look(tmp_path: Path, clock: Clock) -> None:
    """Not at the first: a listing may miss a file that is being renamed."""
    mine, other = (Leases(tmp_path, expiry=EXPIRY, clock=clock) for _ in range(2))
    mine.renew()
    other.close()
    assert [mine.renew(), mine.renew()] == [2, 1]


def test_a_lease_that_stands_still_dies_by_the_clock_of_who_looks(
    tmp_path: Path, clock: Clock
) -> None:
    """Its owner's clock may be years off: it is not asked."""
    mine = Leases(tmp_path, expiry=EXPIRY, clock=clock)
    dead = Leases(tmp_path, expiry=EXPIRY, clock=lambda: 1e12)
    dead.renew()
    assert mine.renew() == 2
    clock.now = EXPIRY
    assert mine.renew() == 2
    clock.now = EXPIRY + 1
    assert mine.renew() == 1
    assert len([*tmp_path.iterdir()]) == 1


def test_who_was_only_slow_lives_again(tmp_path: Path, clock: Clock) -> None:
    """A process that was stopped for a while finds its lease gone, and makes another."""
    mine, slow = (Leases(tmp_path, expiry=EXPIRY, clock=clock) for _ in range(2))
    mine.renew()
    clock.now = EXPIRY + 1
    mine.renew()
    assert slow.renew() == 2
    assert mine.renew() == 2


def test_other_files_are_nobodys_leases(tmp_path: Path, clock: Clock) -> None:
    """They are not counted, and they stay."""
    (tmp_path / "notes.txt").touch()
    mine = Leases(tmp_path, expiry=EXPIRY, clock=clock)
    assert mine.renew() == 1
    clock.now = 10 * EXPIRY
    assert mine.renew() == 1
    assert (tmp_path / "notes.txt").exists()


def test_a_place_that_is_no_directory_is_refused(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(FileError, match="taken: leases cannot be kept there: File exists"):
        Leases(tmp_path / "taken", expiry=EXPIRY, clock=clock)


def test_a_directory_that_went_away_is_told(tmp_path: Path, clock: Clock) -> None:
    """To renew nothing would be to spend what others take for free."""
    mine = Leases(tmp_path / "gone", expiry=EXPIRY, clock=clock)
    for path in (tmp_path / "gone").iterdir():
        path.unlink()
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileError, match="No such file"):
        mine.renew()
