import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from engine.errors import ConfigError, DataError
from storage.datasets.any_table import read
from storage.datasets.format import Columns, Form
from storage.datasets.interactions import Interactions
from storage.environments import LeftOut

HEADER = ["user", "item", "rating", "time", "title", "categories"]
LINES = [
    ["ann", "1", "4.5", "2024-05-02", "Heat", "Crime|Drama"],
    ["ann", "2", "1", "2024-05-01", "Emma", ""],
    ["bob", "1", "3", "2024-05-03", "Heat", "Crime|Drama"],
]


def write(path: Path, separator: str = ",", lines: list[list[str]] | None = None) -> Path:
    rows = [HEADER, *(LINES if lines is None else lines)]
    path.write_text("\n".join(separator.join(row) for row in rows) + "\n")
    return path


def check(data: Interactions) -> None:
    assert data.values.tolist() == [1.0, 4.5, 3.0]
    assert data.titles == ("Heat", "Emma")
    assert data.categories == (("Crime", "Drama"), ())


def reading(path: Path, columns: Columns | None = None) -> DataError:
    with pytest.raises(DataError) as caught:
        read(path, columns or Columns())
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_separators_are_found_out(tmp_path: Path, separator: str) -> None:
    """Comma, tab and semicolon need no option."""
    check(read(write(tmp_path / "data.txt", separator), Columns()))


def test_separator_can_be_named(tmp_path: Path) -> None:
    """Any other one is given."""
    lines = [[*row[:5], row[5].replace("|", ",")] for row in LINES]
    check(read(write(tmp_path / "data.txt", "|", lines), Columns(separator="|")))


@pytest.mark.parametrize("spelled", ["tab", "\\t", "\t"])
def test_a_tab_can_be_spelled(tmp_path: Path, spelled: str) -> None:
    """Shells make it hard to give the character itself."""
    check(read(write(tmp_path / "data.txt", "\t"), Columns(separator=spelled)))


def test_windows_files_are_read(tmp_path: Path) -> None:
    """A byte order mark and carriage returns leave no trace in names or values."""
    path = write(tmp_path / "data.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    check(read(path, Columns()))


def test_parquet_is_read(tmp_path: Path) -> None:
    """A Parquet table says the same, with lists and dates as they are."""
    path = tmp_path / "data.parquet"
    table = pl.DataFrame(LINES, schema=HEADER, orient="row")
    table = table.with_columns(
        pl.col("rating").cast(pl.Float64),
        pl.col("time").str.to_date(),
        pl.col("categories").str.split("|"),
    )
    table.write_parquet(path)
    check(read(path, Columns()))


def test_columns_can_be_named(tmp_path: Path) -> None:
    """Columns of other names are named; those that are not there are not needed."""
    path = tmp_path / "data.csv"
    path.write_text("who,what,stars\nann,Heat,4\nbob,Emma,2\n")
    data = read(path, Columns(user="who", item="what", rating="stars"))
    assert (data.titles, data.values.tolist()) == (("Heat", "Emma"), [4.0, 2.0])


def test_without_ratings_all_are_positive(tmp_path: Path) -> None:
    """User and item alone make an implicit data set."""
    path = tmp_path / "data.csv"
    path.write_text("user,item\nann,Heat\nbob,Emma\n")
    assert read(path, Columns()).scale == "positive"


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """The hint lists the columns that are there, and the option that names one."""
    path = tmp_path / "data.csv"
    path.write_text("who,item\nann,Heat\n")
    error = reading(path)
    assert str(error) == f"{path}: has no column 'user' for the user"
    assert error.hint == "name it with --user; the columns are: who, item"


def test_a_named_column_must_be_there(tmp_path: Path) -> None:
    """An option that names nothing is not passed over."""
    error = reading(write(tmp_path / "data.csv"), Columns(rating="stars"))
    assert "has no column 'stars'" in str(error)
    assert "rating, time" in error.hint


@pytest.mark.parametrize("value", ["good", "", "nan", "inf"])
def test_the_first_wrong_rating_is_placed(tmp_path: Path, value: str) -> None:
    """The sentence names file and line."""
    lines = [LINES[0], ["ann", "2", value, *LINES[1][3:]], ["bob", "1", "bad", *LINES[2][3:]]]
    path = write(tmp_path / "data.csv", lines=lines)
    assert str(reading(path)).startswith(f"{path}:3: expected a number in column 'rating', got")


@pytest.mark.parametrize("value", ["5.5", "-1", "57", "1e300", "-1e300"])
def test_the_first_rating_off_the_scale_is_placed(tmp_path: Path, value: str) -> None:
    """Prompts and users who leave go by 1 to 5: the sentence names file, line and value."""
    lines = [LINES[0], ["ann", "2", value, *LINES[1][3:]], ["bob", "1", "99", *LINES[2][3:]]]
    path = write(tmp_path / "data.csv", lines=lines)
    error = reading(path)
    sentence = f"{path}:3: expected a rating from 0 to 5 in column 'rating', got {value!r}"
    hint = "scale all ratings to 1–5 first, or say how csv has them: --scale 0:10"
    assert (str(error), error.hint) == (sentence, hint)


def test_the_ends_of_the_scale_are_ratings(tmp_path: Path) -> None:
    """Half stars below 1, and nothing at all, are what people give."""
    lines = [[*LINES[0][:2], "5", *LINES[0][3:]], [*LINES[1][:2], "0", *LINES[1][3:]]]
    data = read(write(tmp_path / "data.csv", lines=lines), Columns())
    assert data.values.tolist() == [0.0, 5.0]


def test_a_rating_off_the_scale_in_parquet_is_placed(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "rating": [4, 60]}).write_parquet(path)
    assert f"{path}: row 1: expected a rating from 0 to 5" in str(reading(path))


def test_a_wrong_time_is_placed(tmp_path: Path) -> None:
    """The sentence names what the column holds elsewhere."""
    path = write(tmp_path / "data.csv", lines=[LINES[0], ["ann", "2", "1", "soon", "Emma", ""]])
    assert f"{path}:3: expected a date in column 'time', got 'soon'" in str(reading(path))


@pytest.mark.parametrize(
    "times",
    [
        ["10", "9", "11.5"],
        ["2024-05-02 10:00:00", "2024-05-02 09:59:59", "2024-05-03 00:00:00"],
        ["2024-05-02T10:00:00Z", "2024-05-02T09:00:00Z", "2024-05-03T00:00:00Z"],
    ],
)
def test_numbers_and_dates_are_times(tmp_path: Path, times: list[str]) -> None:
    """Seconds, dates and times of day all tell what came first."""
    lines = [[*line[:3], time, *line[4:]] for line, time in zip(LINES, times, strict=True)]
    check(read(write(tmp_path / "data.csv", lines=lines), Columns()))


def test_words_are_no_times(tmp_path: Path) -> None:
    """A column of words is refused at its first line."""
    lines = [[*line[:3], "soon", *line[4:]] for line in LINES]
    path = write(tmp_path / "data.csv", lines=lines)
    assert f"{path}:2: expected a number or a date in column 'time'" in str(reading(path))


def test_a_missing_user_is_placed(tmp_path: Path) -> None:
    """A gap in an identifier is an error, not a user called nothing."""
    path = write(tmp_path / "data.csv", lines=[LINES[0], ["", *LINES[1][1:]]])
    assert f"{path}:3: expected a value in column 'user', got none" in str(reading(path))


def test_rows_of_parquet_are_counted(tmp_path: Path) -> None:
    """A Parquet file has no lines: the row is named."""
    path = tmp_path / "data.parquet"
    pl.DataFrame({"user": ["a", None], "item": ["x", "y"]}).write_parquet(path)
    assert f"{path}: row 1: expected a value in column 'user'" in str(reading(path))


@pytest.mark.parametrize("text", ["", "\n\n", "user,item\n"])
def test_an_empty_table_is_a_sentence(tmp_path: Path, text: str) -> None:
    """Nothing to learn from is said, not computed with."""
    path = tmp_path / "data.csv"
    path.write_text(text)
    assert str(path) in str(reading(path))


def test_wrong_sources_are_sentences(tmp_path: Path) -> None:
    """A missing file, a directory, and a Parquet file that is none."""
    (tmp_path / "data.parquet").write_text("user,item\n")
    assert "no such file" in str(reading(tmp_path / "nothing.csv"))
    assert "is a directory" in str(reading(tmp_path))
    assert "expected a Parquet file" in str(reading(tmp_path / "data.parquet"))


def test_another_encoding_is_named(tmp_path: Path) -> None:
    """What does not decode is placed, and the hint has the option that reads it."""
    path = tmp_path / "data.csv"
    path.write_bytes("user,item\nann,Café\nbob,Élan\n".encode("latin-1"))
    error = reading(path)
    assert str(error) == f"{path}:2: expected UTF-8, got byte 0xe9"
    assert "--encoding latin-1" in error.hint
    assert read(path, Columns(form=Form("latin-1"))).titles == ("Café", "Élan")


def test_an_unknown_encoding_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no encoding 'latin-99'"):
        read(write(tmp_path / "data.csv"), Columns(form=Form("latin-99")))


def test_without_a_header_columns_have_numbers(tmp_path: Path) -> None:
    """The first line is a row like others, and errors count it as such."""
    path = tmp_path / "data.csv"
    path.write_text("ann,Heat,4\nbob,Emma,2\n")
    columns = Columns(user="0", item="1", rating="2", form=Form(no_header=True))
    data = read(path, columns)
    assert (data.user_names, data.values.tolist()) == (("ann", "bob"), [4.0, 2.0])
    path.write_text("ann,Heat,4\nbob,Emma,9\n")
    assert f"{path}:2: expected a rating" in str(reading(path, columns))


def test_a_scale_becomes_ours(tmp_path: Path) -> None:
    """Its lowest rating is 1, its highest 5, and what is off it is placed."""
    rated = [[*line[:2], mark, *line[3:]] for line, mark in zip(LINES, "508", strict=True)]
    path = write(tmp_path / "data.csv", lines=rated)
    assert read(path, Columns(form=Form(scale="0:8"))).values.tolist() == [1.0, 3.5, 5.0]
    assert "expected a rating from 0 to 7" in str(reading(path, Columns(form=Form(scale="0:7"))))


@pytest.mark.parametrize("scale", ["10", "5:1", "a:b", "0:inf", ":"])
def test_impossible_scales_are_sentences(tmp_path: Path, scale: str) -> None:
    with pytest.raises(ConfigError, match="scale: expected"):
        read(write(tmp_path / "data.csv"), Columns(form=Form(scale=scale)))


def test_rows_without_a_rating_are_left_out_and_counted(tmp_path: Path) -> None:
    """A number may stand for none: it is off the scale, and takes no earlier rating's place."""
    lines = [*LINES, ["ann", "1", "-1", "2024-06-01", "Heat", ""], ["bob", "1", "2", *LINES[0][3:]]]
    data = read(write(tmp_path / "data.csv", lines=lines), Columns(form=Form(missing="-1")))
    assert data.values.tolist() == [1.0, 4.5, 3.0]
    assert data.left_out == LeftOut(unrated=1, merged=1)


def as_json(path: Path) -> Path:
    rows = [dict(zip(HEADER, line, strict=True)) for line in LINES]
    typed = [
        row | {"rating": float(row["rating"]), "categories": row["categories"].split("|")}
        for row in rows
    ]
    path.write_text("\n".join(map(json.dumps, typed)) + "\n")
    return path


def test_json_lines_are_recognised(tmp_path: Path) -> None:
    """Whatever the file is called; numbers and lists are read as such."""
    data = read(as_json(tmp_path / "data.txt"), Columns())
    check(data)
    assert data.files[0].kind == "JSON lines"


@pytest.mark.parametrize("depth", [3, 400, 900])
def test_nothing_is_read_however_deep(tmp_path: Path, depth: int) -> None:
    """Lists in lists are joined as well, and what is deeper than that is no text."""
    path = tmp_path / "data.json"
    deep = "[" * depth + '"Far"' + "]" * depth
    path.write_text('{"user": "a", "item": "b", "categories": [["War", ' + deep + '], "Sea"]}\n')
    assert read(path, Columns()).categories == (("War", "Sea"),)


def test_gzip_is_recognised(tmp_path: Path) -> None:
    """Also in several members, as what was appended to is."""
    text = as_json(tmp_path / "data.json").read_bytes()
    path = tmp_path / "data.bin"
    path.write_bytes(gzip.compress(text[:50]) + gzip.compress(text[50:]))
    data = read(path, Columns())
    check(data)
    assert data.files[0].kind == "gzip, JSON lines"


@pytest.mark.parametrize("end", [-9, -4, 20])
def test_a_torn_gzip_file_is_a_sentence(tmp_path: Path, end: int) -> None:
    path = write(tmp_path / "data.csv")
    path.write_bytes(gzip.compress(path.read_bytes())[:end])
    assert str(reading(path)).startswith(f"{path}: is packed, and damaged: ")


@pytest.mark.parametrize("line", ['{"user": 1', "[1, 2]", "text", "[" * 100_000])
def test_a_line_that_is_no_object_is_placed(tmp_path: Path, line: str) -> None:
    """The hint says what a list has to become."""
    path = as_json(tmp_path / "data.json")
    path.write_text(path.read_text() + line + "\n")
    error = reading(path)
    assert str(error).startswith(f"{path}:4: ")
    assert "one JSON object a line" in error.hint


def test_lists_of_columns_are_cut(tmp_path: Path) -> None:
    """A table of sixty columns does not fill the screen."""
    path = tmp_path / "data.csv"
    path.write_text(",".join(f"c{number}" for number in range(60)) + "\n")
    assert reading(path).hint.endswith("c8, c9 and 50 more")
