"""Memory: what a prefix recalls, and what survives on disk."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FileError
from engine.records import UNIT, MemoryName, Record, Vector
from storage.memory import Memory, records_at


class Note(msgspec.Struct, frozen=True, kw_only=True):
    text: str


class Other(msgspec.Struct, frozen=True, kw_only=True):
    text: str


NOTES = MemoryName("notes", Note)


def key(angle: float) -> Vector:
    return np.array([UNIT * math.cos(angle), UNIT * math.sin(angle)]).round().astype(np.int8)


def note(position: int) -> Record[Note]:
    return Record(position // 3, key(position / 40), Note(text=f"note {position}\n"))


def filled(count: int, *, capacity: int | None = None) -> Memory[Note]:
    memory = Memory(NOTES, capacity=capacity, block=16)
    for position in range(count):
        memory.append(note(position))
    return memory


def positions(memory: Memory[Note], length: int, angle: float, k: int) -> list[int]:
    return [found.position for found in memory.view(length).recall(key(angle), k)]


def test_the_nearest_is_recalled_with_its_record() -> None:
    found = filled(10).view(10).recall(key(7 / 40), 1)[0]
    assert (found.position, found.distance) == (7, 0.0)
    assert (found.record.episode, found.record.payload.text) == (2, "note 7\n")
    assert found.record.key.tolist() == key(7 / 40).tolist()


def test_a_view_sees_nothing_beyond_its_prefix() -> None:
    assert positions(filled(40), 5, 1.0, 2) == [4, 3]


def test_later_records_leave_a_view_alone() -> None:
    memory = filled(5)
    view = memory.view(5)
    memory.append(Record(9, key(1.0), Note(text="later")))
    assert [found.position for found in view.recall(key(1.0), 9)] == [4, 3, 2, 1, 0]


def test_an_empty_view_recalls_nothing() -> None:
    assert list(filled(3).view(0).recall(key(0), 5)) == []


def test_far_records_are_not_recalled() -> None:
    found = filled(40).view(40).recall(key(0), 40, within=0.01)
    assert 0 < len(found) < 10
    assert all(each.distance <= 0.01 for each in found)


@given(length=st.integers(0, 100), capacity=st.integers(1, 100), k=st.integers(1, 5))
def test_a_capacity_forgets_the_oldest(length: int, capacity: int, k: int) -> None:
    """What a limited view recalls depends on its length and the capacity alone."""
    expected = list(range(max(0, length - capacity), length))[:k]
    assert positions(filled(100, capacity=capacity), length, 0.0, k) == expected


def test_more_records_than_there_are_cannot_be_seen() -> None:
    with pytest.raises(ValueError, match="memory 'notes' holds 3 records, asked for 4"):
        filled(3).view(4)


def test_a_memory_holds_one_kind_of_payload() -> None:
    memory = filled(3)
    with pytest.raises(TypeError, match="memory 'notes' holds Note, got Other"):
        memory.append(Record(1, key(0), Other(text="")))
    assert len(memory) == 3


@pytest.mark.parametrize("count", [0, 1, 100])
def test_what_was_saved_is_loaded(tmp_path: Path, count: int) -> None:
    memory = filled(count)
    memory.save(tmp_path / "memory")
    again = Memory.load(tmp_path / "memory", NOTES, block=16)
    assert list(map(repr, again.records())) == list(map(repr, memory.records()))
    assert positions(again, count, 1.0, 5) == positions(memory, count, 1.0, 5)


def test_a_loaded_memory_grows(tmp_path: Path) -> None:
    filled(20).save(tmp_path)
    again = Memory.load(tmp_path, NOTES, block=16)
    for position in range(20, 60):
        again.append(note(position))
    assert positions(again, 60, 1.4, 5) == positions(filled(60), 60, 1.4, 5)


def test_saving_leaves_the_two_files_only(tmp_path: Path) -> None:
    filled(3).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.jsonl", "notes.npy"]


def test_some_records_are_read_without_the_others(tmp_path: Path) -> None:
    """A changed line is noticed by whoever asks for it, and so is one that is not there."""
    filled(9).save(tmp_path)
    lines = tmp_path / "notes.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b"note 3", b"note 4"))
    found = [(entry.episode, said.text) for entry, said in records_at(tmp_path, NOTES, [0, 7, 8])]
    assert found == [(0, "note 0\n"), (2, "note 7\n"), (2, "note 8\n")]
    for position, what in ((3, "jsonl:4: not a record: the line"), (9, "no record 9, of 9 keys")):
        with pytest.raises(FileError, match=what):
            list(records_at(tmp_path, NOTES, [position]))


def test_a_changed_line_is_noticed(tmp_path: Path) -> None:
    filled(5).save(tmp_path)
    lines = tmp_path / "notes.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b"note 3", b"note 4"))
    with pytest.raises(FileError, match=r"notes.jsonl:4: .* does not agree with its checksum"):
        Memory.load(tmp_path, NOTES)


def test_a_changed_key_is_noticed(tmp_path: Path) -> None:
    filled(5).save(tmp_path)
    keys = tmp_path / "notes.npy"
    keys.write_bytes(keys.read_bytes()[:-1] + b"\x09")
    with pytest.raises(FileError, match=r"notes.jsonl:5: .* does not agree with its checksum"):
        Memory.load(tmp_path, NOTES)


def test_a_missing_line_is_noticed(tmp_path: Path) -> None:
    filled(5).save(tmp_path)
    lines = tmp_path / "notes.jsonl"
    lines.write_bytes(b"".join(lines.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(FileError, match=r"notes.jsonl:5: 4 records for 5 keys in .*notes.npy"):
        Memory.load(tmp_path, NOTES)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"hello"])
def test_damaged_keys_are_noticed(tmp_path: Path, content: bytes) -> None:
    filled(5).save(tmp_path)
    (tmp_path / "notes.npy").write_bytes(content)
    with pytest.raises(FileError, match=r"notes.npy: not keys"):
        Memory.load(tmp_path, NOTES)


def test_a_missing_memory_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"notes.npy: there is no such memory"):
        Memory.load(tmp_path, NOTES)


def test_an_unwritable_directory_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(FileError, match=r"taken: cannot be written: "):
        filled(3).save(tmp_path / "taken")
