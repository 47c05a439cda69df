import json
from pathlib import Path

import pytest

from engine.errors import DataError
from storage.datasets.amazon import GENRES, VISITORS, read
from storage.datasets.format import Columns


@pytest.fixture
def source(tmp_path: Path) -> Path:
    visitors = [
        {"userid_encoded": 21, "pos_seq_name": ["Dark  Matter", "Emma", "Emma"], "question": "?"},
        {"userid_encoded": 22, "pos_seq_name": ["Dark Matter"], "question": "?"},
    ]
    (tmp_path / VISITORS).write_text(json.dumps(visitors))
    genres = {"Dark Matter": "['Science', 'Arts &amp; Crafts']", "Emma": "[]"}
    (tmp_path / GENRES).write_text(json.dumps(genres))
    return tmp_path


def reading(source: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read(source, Columns())
    return caught.value


def test_likes_are_read(source: Path) -> None:
    """Books of one title are one book; categories are lists, not letters."""
    data = read(source, Columns())
    assert (data.titles, data.scale, len(data)) == (("Dark Matter", "Emma"), "positive", 3)
    assert data.categories == (("Science", "Arts & Crafts"), ())
    assert data.user_names == ("21", "22")


def test_a_user_without_history_is_named(source: Path) -> None:
    """Nobody can be simulated without one."""
    (source / VISITORS).write_text('[{"userid_encoded": 7, "pos_seq_name": []}]')
    assert "user 7 is without a history" in str(reading(source))


def test_no_users_at_all_is_a_sentence(source: Path) -> None:
    """An empty list is not an environment."""
    (source / VISITORS).write_text("[]")
    assert "holds no users" in str(reading(source))


@pytest.mark.parametrize("text", ['[{"userid', '{"a": 1}', '[{"userid_encoded": "x"}]'])
def test_malformed_json_is_named(source: Path, text: str) -> None:
    """The sentence names the file and what is wrong in it."""
    (source / VISITORS).write_text(text)
    error = str(reading(source))
    assert error.startswith(f"{source / VISITORS}: ")
    assert "\n" not in error


@pytest.mark.parametrize("text", ["Fiction", "['Fiction", "{'Fiction': 1}"])
def test_categories_that_are_no_list_are_named(source: Path, text: str) -> None:
    """What stands in the place of a list is shown, with its title."""
    (source / GENRES).write_text(json.dumps({"Emma": text}))
    assert f"expected a list for 'Emma', got {text!r}" in str(reading(source))


def test_unreadable_bytes_are_placed(source: Path) -> None:
    """A file in another encoding is named with its line."""
    (source / GENRES).write_bytes(b'{"Emma":\n "\xe9"}')
    assert f"{source / GENRES}:2: expected UTF-8, got byte 0xe9" in str(reading(source))
