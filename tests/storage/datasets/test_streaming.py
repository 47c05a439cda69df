"""A source need not fit into memory: of each row some bytes are held, however wide it is."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from storage.datasets.draws import integers

PEAK = """
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
BUILD = """
import sys
from storage.datasets import Recipe, build_environment
made = build_environment(sys.argv[1], Path(sys.argv[2]), Recipe(dimensions=2), name="large")
print(made.head.interactions + made.head.provenance.left_out.merged)
"""
READ = """
import sys
from storage.datasets import FORMATS, Columns
print(len(FORMATS.named("movielens").read(Path(sys.argv[1]), Columns())))
"""
PLACES = """
import sys
from storage.datasets.draws import bells
from storage.datasets.geometry import places_of
items = int(sys.argv[1])
labels = [(f"tag {item % 251}", f"tag {item % 241}") for item in range(items)]
print(len(places_of(bells(0, "factors", (items, 4), 1_000).astype("int16"), labels, 0.4)))
"""
ROWS = 1_000_000
ITEMS = 100_000


def columns_of(count: int) -> Iterable[NDArray[np.int64]]:
    """Return as many ratings, of 20,000 users and 5,000 items: users, items, ratings, times."""
    bounds = {"users": 20_000, "items": 5_000, "ratings": 5, "times": 10**9}
    return (integers(0, name, count, below) for name, below in bounds.items())


def rows_of(count: int) -> Iterable[tuple[int, int, int, int]]:
    """Return them row by row."""
    return zip(*(column.tolist() for column in columns_of(count)), strict=True)


def wide(path: Path, count: int) -> Path:
    """Write a table of rows of about 300 bytes each."""
    note = "what somebody wrote " * 13
    with path.open("w") as file:
        file.write("user,item,rating,time,note\n")
        for user, item, rating, time in rows_of(count):
            file.write(f"user {user},item {item},{rating},{time},{note}\n")
    return path


def reviews(path: Path, count: int) -> Path:
    """Write reviews as Amazon's of 2023, of about 400 bytes each."""
    path.mkdir()
    text = "what somebody wrote " * 13
    with (path / "Books.jsonl").open("w") as file:
        for user, item, rating, time in rows_of(count):
            file.write(f'{{"rating": {rating}.0, "title": "", "text": "{text}", "asin": "{item}",')
            file.write(f' "parent_asin": "{item}", "user_id": "U{user}", "timestamp": {time}}}\n')
    told = '{"parent_asin": "1", "title": "One", "categories": []}\n'
    (path / "meta_Books.jsonl").write_text(told)
    return path


def movies(path: Path, count: int) -> Path:
    """Write ratings as MovieLens has them."""
    path.mkdir()
    names = ("userId", "movieId", "rating", "timestamp")
    pl.DataFrame(dict(zip(names, columns_of(count), strict=True))).write_csv(path / "ratings.csv")
    films = (f"{item},Film {item},Drama\n" for item in range(5_000))
    (path / "movies.csv").write_text("movieId,title,genres\n" + "".join(films))
    return path


def ran(code: str, *words: str | Path | int) -> tuple[int, int]:
    """Return what *code* counted, and the bytes that its process held at its peak."""
    command = [sys.executable, "-c", "from pathlib import Path" + code + PEAK, *map(str, words)]
    done = subprocess.run(command, capture_output=True, check=True)
    count, kilobytes = map(int, done.stdout.split())
    return count, kilobytes * 1024


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "write"), [("csv", wide), ("amazon-2023", reviews)])
def test_memory_goes_by_rows_and_not_by_bytes(
    kind: str, write: Callable[[Path, int], Path], tmp_path: Path
) -> None:
    """A row more costs less than 120 bytes: 24 are its interaction, the rest comes and goes."""
    small, large = write(tmp_path / "small", ROWS // 4), write(tmp_path / "large", ROWS)
    (few, little), (many, much) = ran(BUILD, kind, small), ran(BUILD, kind, large)
    assert ROWS // 10 < few < many < ROWS  # agents are told half of what was read
    assert (much - little) / (ROWS - ROWS // 4) < 120


@pytest.mark.slow
def test_ratings_of_movies_are_read_in_blocks(tmp_path: Path) -> None:
    """Narrow rows, too, cost what they say and not what the table of their texts takes."""
    small, large = movies(tmp_path / "small", ROWS), movies(tmp_path / "large", 4 * ROWS)
    (_, little), (_, much) = ran(READ, small), ran(READ, large)
    assert (much - little) / (3 * ROWS) < 110


@pytest.mark.slow
def test_places_take_little_more_than_their_own_room() -> None:
    """An item more costs less than three of its places, which have 255 columns of 2 bytes."""
    (few, little), (many, much) = ran(PLACES, ITEMS // 2), ran(PLACES, ITEMS)
    assert (much - little) / (many - few) < 3 * 255 * 2
