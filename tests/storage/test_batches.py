"""batches.jsonl: what is known of batches, after a crash too; and what is no word on one."""

from pathlib import Path

import pytest

from engine.errors import FileError
from storage.batches import (
    BatchCreated,
    BatchEnded,
    BatchFile,
    FileUploaded,
    open_batches,
    read_batches,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of two batches: one that ended, without a reply to a call, and one that is open."""
    path = tmp_path / "batches.jsonl"
    file = BatchFile(path)
    for number in ("1", "2"):
        file.append(FileUploaded(file=f"f{number}", url="http://here", names=("a", "b")))
        file.append(BatchCreated(batch=f"b{number}", file=f"f{number}"))
    file.append(BatchEnded(file="f1", status="expired", failed=("b",)))
    file.close()
    return path


def test_what_was_sent_is_known_again(path: Path) -> None:
    """But for the calls to which there is no reply."""
    first, second = BatchFile(path).sent
    assert ([*first.names], first.ended) == (["a"], True)
    assert ([*second.names], second.batch) == (["a", "b"], "b2")
    assert [one.batch for one in open_batches(path)] == ["b2"]


def test_a_torn_line_is_cut_off(path: Path) -> None:
    """As after a crash: the file goes on after the last whole line."""
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    file = BatchFile(path)
    assert not file.sent[0].ended
    file.append(BatchEnded(file="f1", status="expired", failed=("b",)))
    file.close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "change",
    [
        (b'"b1"', b'"b3"'),
        (b"BatchCreated", b"BatchRevoked"),
        (b'"file":"f1","check"', b'"file":"f1","chess"'),
    ],
)
def test_a_changed_line_is_damage(change: tuple[bytes, bytes], path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(*change, 1))
    with pytest.raises(FileError, match=r"batches\.jsonl:2: no word on a batch"):
        read_batches(path)


def test_a_name_that_is_no_plain_word_is_damage(tmp_path: Path) -> None:
    """It would become a part of an address."""
    path = tmp_path / "batches.jsonl"
    file = BatchFile(path)
    file.append(FileUploaded(file="../keys", url="http://here", names=("a",)))
    file.close()
    with pytest.raises(FileError, match="no word on a batch"):
        read_batches(path)


def test_a_batch_of_no_file_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "batches.jsonl"
    file = BatchFile(path)
    file.append(BatchCreated(batch="b1", file="f1"))
    file.close()
    with pytest.raises(FileError, match="no word on a batch"):
        read_batches(path)
