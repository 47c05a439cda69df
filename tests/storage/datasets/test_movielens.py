from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import DataError
from storage.datasets.format import Columns
from storage.datasets.interactions import Interactions
from storage.datasets.movielens import read


def latest(source: Path) -> None:
    ratings = "userId,movieId,rating,timestamp\n1,10,4.0,30\n1,20,3.5,10\n2,10,1.0,20\n"
    (source / "ratings.csv").write_text(ratings)
    movies = 'movieId,title,genres\n10,"Misérables, Les (1995)",Drama|War\n'
    (source / "movies.csv").write_text(movies + "20,Heat (1995),(no genres listed)\n")


def one_million(source: Path) -> None:
    ratings = "1::10::4::30\n1::20::3.5::10\n2::10::1::20\n"
    (source / "ratings.dat").write_text(ratings)
    movies = "10::Misérables, Les (1995)::Drama|War\n20::Heat (1995)::\n"
    (source / "movies.dat").write_text(movies, encoding="latin-1")
    (source / "users.dat").write_text("1::F::1::10::48067\n")


def hundred_thousand(source: Path) -> None:
    (source / "u.data").write_text("1\t10\t4\t30\n1\t20\t3.5\t10\n2\t10\t1\t20\n")
    (source / "u.genre").write_text("unknown|0\nDrama|1\nWar|2\n\n")
    movies = "10|Misérables, Les (1995)|01-Jan-1995||http://a|0|1|1\n"
    movies += "20|Heat (1995)|01-Jan-1995||http://b|1|0|0\n"
    (source / "u.item").write_text(movies, encoding="latin-1")


LAYOUTS = [latest, one_million, hundred_thousand]


def reading(source: Path) -> Interactions:
    return read(source, Columns())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_says_the_same(layout: Callable[[Path], None], tmp_path: Path) -> None:
    """Whatever the layout, the same ratings, times, titles and genres come out."""
    layout(tmp_path)
    data = reading(tmp_path)
    movies = dict(zip(data.titles, data.categories, strict=True))
    assert movies == {"Misérables, Les (1995)": ("Drama", "War"), "Heat (1995)": ()}
    assert data.values.tolist() == [3.5, 1.0, 4.0]
    assert [data.user_names[user] for user in data.users.tolist()] == ["1", "2", "1"]
    assert len(data.files) == 2


def test_a_rating_that_is_no_number_is_placed(tmp_path: Path) -> None:
    """The sentence names file and line."""
    latest(tmp_path)
    with (tmp_path / "ratings.csv").open("a") as file:
        file.write("2,20,good,40\n2,30,bad,50\n")
    with pytest.raises(DataError) as caught:
        reading(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'ratings.csv'}:5: expected a number")


def test_a_line_too_long_is_placed(tmp_path: Path) -> None:
    """A line with a column too many is named, not guessed at."""
    one_million(tmp_path)
    with (tmp_path / "ratings.dat").open("a") as file:
        file.write("3::10::4::30::9\n")
    with pytest.raises(DataError, match=r"ratings\.dat:4: expected 4 columns, got 5"):
        reading(tmp_path)


def test_a_line_too_short_is_placed(tmp_path: Path) -> None:
    """A torn last line is named."""
    latest(tmp_path)
    with (tmp_path / "ratings.csv").open("a") as file:
        file.write("2,20\n")
    with pytest.raises(DataError, match=r"ratings\.csv:5: expected a number in column 'rating'"):
        reading(tmp_path)


def test_another_directory_is_not_movielens(tmp_path: Path) -> None:
    """The sentence says what was looked for."""
    with pytest.raises(DataError, match=r"none of ratings\.csv, ratings\.dat, u\.data"):
        reading(tmp_path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """The sentence names the path."""
    with pytest.raises(DataError, match="no such directory"):
        reading(tmp_path / "nothing")
