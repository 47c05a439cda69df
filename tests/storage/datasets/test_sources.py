"""A file is read in blocks: nothing may be seen of where they end."""

from pathlib import Path

import pytest

from engine.errors import DataError
from storage.datasets import sources
from storage.datasets.any_table import read
from storage.datasets.format import Columns, Form
from storage.datasets.sources import Source


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_BLOCK", 32)


def table(path: Path, rows: int = 100) -> Path:
    lines = [f'u{row % 9},"i{row},é\n",{row % 5},{row}' for row in range(rows)]
    path.write_text("\n".join(["user,item,rating,time", *lines]) + "\n", encoding="utf-8")
    return path


def test_blocks_are_the_file(tmp_path: Path) -> None:
    """Whole lines, none twice, none left out, each with its number."""
    path = table(tmp_path / "data.csv")
    found = [*Source(path).blocks('"')]
    assert b"".join(block.text for block in found) == path.read_bytes()
    assert all(block.text.count(b'"') % 2 == 0 for block in found)
    assert found[-1].line + found[-1].text.count(b"\n") == path.read_bytes().count(b"\n") + 1


def test_quoted_ends_of_lines_are_kept(tmp_path: Path) -> None:
    """Rows are the same however small the blocks, and letters of two bytes are whole."""
    data = read(table(tmp_path / "data.csv"), Columns())
    assert (len(data), len(data.user_names), data.titles[0]) == (100, 9, "i0,é")


def test_rows_are_placed_in_their_file(tmp_path: Path) -> None:
    """A wrong value in a later block is named with its own line."""
    path = tmp_path / "data.csv"
    rows = [f"u,i{row},{row // 90 * 9}" for row in range(99)]
    path.write_text("\n".join(["user,item,rating", *rows]))
    with pytest.raises(DataError, match=rf"{path}:92: expected a rating"):
        read(path, Columns())


def test_a_byte_in_a_later_block_is_placed(tmp_path: Path) -> None:
    path = table(tmp_path / "data.csv", 50)
    path.write_bytes(path.read_bytes().replace(b"u4,", b"u\xff,").replace(b"u\xff,", b"u4,", 3))
    line = path.read_bytes().split(b"\xff")[0].count(b"\n") + 1
    with pytest.raises(DataError, match=f":{line}: expected UTF-8, got byte 0xff"):
        read(path, Columns())


def test_other_encodings_have_blocks_too(tmp_path: Path) -> None:
    """In UTF-16 an end of line is no byte of its own."""
    path = table(tmp_path / "data.csv")
    expected = read(path, Columns())
    path.write_text(path.read_text("utf-8"), encoding="utf-16")
    columns = Columns(separator=",", form=Form(encoding="utf-16"))
    assert read(path, columns).titles == expected.titles


@pytest.mark.parametrize("row", ["a" * 999, 'u1,"6 nails' + "\nu2,i2" * 99])
def test_an_endless_row_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    """A file without ends of lines, or with a quote that nobody closes, is not taken whole."""
    monkeypatch.setattr(sources, "LONGEST_LINE", 100)
    path = tmp_path / "data.csv"
    path.write_text("user,item\n" + row)
    with pytest.raises(DataError, match=r"data\.csv:2: has a row of more than 100 bytes"):
        read(path, Columns())
