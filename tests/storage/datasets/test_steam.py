from pathlib import Path

import pytest

from engine.errors import DataError
from storage.datasets.format import Columns
from storage.datasets.steam import GENRES, PLAYS, TITLES, read


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tiny steam-200k: a pair in two pieces, a quote in a title, a game without genres."""
    plays = ["User_ID\tGame_ID\tHours", "1\t7\t273.0", "1\t8\t2.5", "2\t7\t0.1", "1\t7\t1.0"]
    (tmp_path / PLAYS).write_text("\n".join(plays) + "\n")
    titles = ["Game_ID\tGame Name", '7\tThe "Best" Game  ', "8\tOther &amp; One"]
    (tmp_path / TITLES).write_text("\n".join(titles) + "\n")
    genres = ["Game_ID,steam200k_title,genres", '7,"The ""Best"" Game",Action|RPG', "8,Other,"]
    (tmp_path / GENRES).write_text("\n".join(genres) + "\n")
    return tmp_path


def test_plays_are_read(source: Path) -> None:
    """Hours are summed, titles cleaned, genres matched."""
    data = read(source, Columns())
    assert (len(data), data.scale, sorted(data.values.tolist())) == (3, "hours", [0.1, 2.5, 274.0])
    assert sorted(data.titles) == ["Other & One", 'The "Best" Game']
    assert data.categories[data.titles.index('The "Best" Game')] == ("Action", "RPG")


def test_genres_may_be_absent(source: Path) -> None:
    """Without the match there are games without genres, no error."""
    (source / GENRES).unlink()
    assert read(source, Columns()).categories == ((), ())


def test_order_does_not_follow_hours(source: Path) -> None:
    """The source lists a user's games by hours; a history must not."""
    lines = [f"1\t{game}\t{1000 - game}" for game in range(7, 57)]
    (source / PLAYS).write_text("User_ID\tGame_ID\tHours\n" + "\n".join(lines))
    hours = read(source, Columns()).values.tolist()
    assert hours != sorted(hours)
    assert hours != sorted(hours, reverse=True)


def test_hours_that_are_no_number_are_placed(source: Path) -> None:
    """The sentence names file, line, column and value."""
    with (source / PLAYS).open("a") as file:
        file.write("3\t7\tmany\n")
    with pytest.raises(DataError) as caught:
        read(source, Columns())
    place = f"{source / PLAYS}:6"
    assert str(caught.value) == f"{place}: expected a number in column 'Hours', got 'many'"


def test_missing_files_are_named(tmp_path: Path) -> None:
    """The sentence says which file is not there."""
    with pytest.raises(DataError, match=r"game_play\.dat: no such file"):
        read(tmp_path, Columns())
