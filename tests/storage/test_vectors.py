"""vectors.jsonl: what a service said the vectors of texts are."""

from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FileError
from storage.sealed import seal
from storage.vectors import VectorEntry, VectorFile, every_vector, read_vectors

ONE = VectorEntry(text="aa", vector="AQI=", error=None, tokens=3, attempts=1)
NONE = VectorEntry(text="bb", vector=None, error="too_long")


def written(path: Path, *entries: VectorEntry) -> None:
    file = VectorFile(path)
    for entry in entries:
        file.add(entry)
    file.close()


def known(path: Path) -> dict[str, VectorEntry]:
    file = VectorFile(path)
    file.close()
    return file.known


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "embeddings" / "vectors.jsonl"


def test_a_new_file_knows_nothing(path: Path) -> None:
    """Its directory is made."""
    assert known(path) == {}
    assert path.read_bytes() == b""


def test_an_entry_is_known_and_written_at_once(path: Path) -> None:
    """When `add` returns it is in the file, before anybody uses the vector."""
    file = VectorFile(path)
    file.add(ONE)
    assert file.known == {"aa": ONE}
    body = b'{"text":"aa","vector":"AQI=","error":null,"tokens":3,"attempts":1'
    assert path.read_bytes() == body + b',"check":"%08x"}\n' % crc32(body)
    file.close()


def test_entries_are_known_again(path: Path) -> None:
    """Vectors as well as failures: both decide what a run recalls."""
    written(path, ONE, NONE)
    assert known(path) == {"aa": ONE, "bb": NONE}


def test_the_file_grows(path: Path) -> None:
    written(path, ONE)
    written(path, NONE)
    assert known(path) == {"aa": ONE, "bb": NONE}
    assert path.read_bytes().count(b"\n") == 2


def test_a_text_that_was_asked_again_has_its_last_vector(path: Path) -> None:
    again = VectorEntry(text="bb", vector="AwQ=", error=None)
    written(path, NONE, again)
    assert known(path) == {"bb": again}


@pytest.mark.parametrize("length", range(1, 43))
def test_a_torn_last_line_never_was(path: Path, length: int) -> None:
    """Wherever the crash cut it; what comes next stands in its place."""
    written(path, ONE, NONE)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[: first + length])
    assert known(path) == {"aa": ONE}
    written(path, NONE)
    assert path.read_bytes() == whole


def test_a_first_line_that_is_torn_leaves_an_empty_file(path: Path) -> None:
    written(path, ONE)
    path.write_bytes(path.read_bytes()[:-1])
    assert known(path) == {}
    assert path.read_bytes() == b""


@pytest.mark.parametrize("line", [b"{}", b"nonsense", b'{"text":"\xff"}', b'{"text":1}', b""])
def test_any_other_damage_is_named_with_its_line(path: Path, line: bytes) -> None:
    written(path, ONE, NONE)
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(FileError, match=rf"{path.name}:1: not a vector: "):
        VectorFile(path)


def test_a_damaged_file_is_left_as_it_is(path: Path) -> None:
    """Nothing is cut off that somebody might still repair."""
    written(path, ONE)
    damaged = b"nonsense\n" + path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(FileError):
        VectorFile(path)
    assert path.read_bytes() == damaged


BARE = b'{"text":"aa","vector":"AQI=","error":null,"tokens":3,"attempts":1}'


def test_a_line_without_a_checksum_is_none(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(BARE + b"\n")
    with pytest.raises(FileError, match=rf"{path.name}:1: not a vector: .* checksum"):
        VectorFile(path)


@pytest.mark.parametrize(
    ("vector", "what"),
    [
        (b"AQ", "not a vector: Incorrect padding"),
        (b"A?I=", "not a vector: "),
        (b"", "not a vector: it has no direction"),
        (b"AAA=", "not a vector: it has no direction"),
        (b"AQID", "expected a vector of 2 numbers, got 3"),
    ],
)
def test_a_vector_that_cannot_be_is_named(path: Path, vector: bytes, what: str) -> None:
    """Not only when somebody wants it."""
    written(path, ONE)
    path.write_bytes(path.read_bytes() + seal(BARE.replace(b"AQI=", vector)))
    with pytest.raises(FileError, match=rf"{path.name}:2: {what}"):
        VectorFile(path)


@given(place=st.integers(0, 1 << 20), byte=st.integers(1, 255))
def test_a_changed_byte_is_never_accepted(
    place: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Save the last one: without it the last line is torn."""
    path = tmp_path_factory.mktemp("vectors") / "vectors.jsonl"
    written(path, ONE, NONE, ONE)
    whole = bytearray(path.read_bytes())
    whole[place % (len(whole) - 1)] ^= byte
    path.write_bytes(whole)
    with pytest.raises(FileError, match=rf"{path.name}:[123]: not a vector: "):
        read_vectors(path)


def test_failures_within_the_forgotten_bytes_are_not_known(path: Path) -> None:
    """They are to be asked again; those that come later are not."""
    written(path, NONE, ONE)
    size = path.stat().st_size
    assert read_vectors(path, forgotten=size) == ({"aa": ONE}, size)
    written(path, NONE)
    assert read_vectors(path, forgotten=size)[0] == {"aa": ONE, "bb": NONE}


def test_all_that_was_ever_said_can_be_read(path: Path) -> None:
    again = VectorEntry(text="bb", vector="AwQ=", error=None)
    written(path, NONE, again)
    assert list(every_vector(path)) == [NONE, again]


def test_a_closed_file_can_be_closed_again(path: Path) -> None:
    file = VectorFile(path)
    file.close()
    file.close()
    assert file.known == {}
