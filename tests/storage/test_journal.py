"""The journal: a torn last line is normal, any other damage is said with its place."""

import itertools
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calls import Call
from engine.errors import JournalError
from storage.journal import (
    AttemptFailed,
    CallEnded,
    Entry,
    Journal,
    Recording,
    RetryStarted,
    identity,
    read_journal,
)
from tests.support.drawn import TEXTS


def ended(step: int, text: str | None = "an item", error: str | None = None) -> CallEnded:
    return CallEnded(
        user=3,
        session=0,
        step=step,
        role="actor",
        occurrence=0,
        request="ab12",
        text=text,
        error=error,
        prompt_tokens=30,
        completion_tokens=8,
        finish="stop",
        latency=0.25,
        wait=0.0,
        attempts=1,
    )


def failed_attempt(step: int) -> AttemptFailed:
    return AttemptFailed(
        user=3,
        session=0,
        step=step,
        role="actor",
        occurrence=0,
        attempt=1,
        error="rate",
        latency=0.5,
        wait=0.0,
        pause=1.5,
    )


ENTRIES: tuple[Entry, ...] = (
    ended(0, 'said "so"\nand é'),
    failed_attempt(1),
    ended(1),
    ended(2, None, "rate"),
)


def written(path: Path, *entries: Entry) -> Path:
    journal = Journal(path, "none")
    for entry in entries:
        journal.append(entry)
    journal.close()
    return path


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return the lines of a sound journal."""
    path = written(tmp_path_factory.mktemp("journal") / "calls.jsonl", *ENTRIES)
    return path.read_bytes().splitlines(keepends=True)


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Recording]:
    """Return a function that reads a journal of the given bytes."""
    path = tmp_path_factory.mktemp("journal") / "calls.jsonl"

    def read(content: bytes) -> Recording:
        path.write_bytes(content)
        return read_journal(path)

    return read


calls = st.builds(
    CallEnded,
    user=st.integers(0, 2**40),
    session=st.integers(0, 9),
    step=st.integers(-1, 99),
    role=TEXTS,
    occurrence=st.integers(0, 9),
    request=TEXTS,
    text=st.none() | TEXTS,
    error=st.none() | TEXTS,
    prompt_tokens=st.integers(0, 10**6),
    completion_tokens=st.integers(0, 10**6),
    finish=TEXTS,
    latency=st.floats(0, 1e6),
    wait=st.floats(0, 1e6),
    attempts=st.integers(0, 99),
)


def test_a_journal_tells_how_each_call_ended(lines: list[bytes], tmp_path: Path) -> None:
    """Calls stand by identity; failed attempts are for people."""
    recording = read_journal(written(tmp_path / "calls.jsonl", *ENTRIES))
    assert list(recording.values()) == [ENTRIES[0], ENTRIES[2], ENTRIES[3]]
    assert recording[3, 0, 1, "actor", 0] == ENTRIES[2]
    assert (recording.size, recording.torn) == (len(b"".join(lines)), False)


@given(entries=st.lists(calls, max_size=5, unique_by=lambda entry: entry.identity))
@settings(max_examples=50, deadline=None)
def test_whatever_was_said_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, entries: list[CallEnded]
) -> None:
    """A line is a line, whatever line ends and quotes a reply holds."""
    path = written(tmp_path_factory.mktemp("journal") / "calls.jsonl", *entries)
    assert list(read_journal(path).values()) == entries
    assert path.read_bytes().count(b"\n") == len(entries)


def test_a_call_has_one_identity() -> None:
    """What is asked and what is recorded are found by the same key, whatever the episode."""
    call = Call(episode=8, user=3, session=0, step=2, role="actor", occurrence=0)
    assert identity(call) == ended(2).identity == (3, 0, 2, "actor", 0)


def test_an_entry_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    """A reply is not used before it is safe."""
    journal = Journal(tmp_path / "calls.jsonl", "none")
    journal.append(ended(0))
    assert len(read_journal(journal.path)) == 1
    journal.close()


def test_a_sealed_journal_takes_nothing_more(tmp_path: Path) -> None:
    """Calls that end because the run is being stopped leave no mark, and no complaint."""
    journal = Journal(tmp_path / "calls.jsonl", "none")
    journal.append(ended(0))
    journal.seal()
    journal.append(ended(1, None, "cancelled"))
    assert list(read_journal(journal.path).values()) == [ended(0)]
    journal.close()
    journal.append(ended(2))
    assert len(read_journal(journal.path)) == 1


def test_any_cut_of_the_last_line_is_torn(
    lines: list[bytes], reading: Callable[[bytes], Recording]
) -> None:
    """Wherever a crash cuts the last line, the lines before it are read."""
    whole = b"".join(lines[:-1])
    for length in range(1, len(lines[-1])):
        recording = reading(whole + lines[-1][:length])
        assert (recording.torn, recording.size, len(recording)) == (True, len(whole), 2)


def test_a_cut_between_lines_is_no_cut(
    lines: list[bytes], reading: Callable[[bytes], Recording]
) -> None:
    """A journal may be empty, and may end after any line."""
    for count in range(len(lines) + 1):
        whole = b"".join(lines[:count])
        assert (reading(whole).size, reading(whole).torn) == (len(whole), False)


def test_a_torn_journal_is_continued_after_its_last_whole_line(tmp_path: Path) -> None:
    """Resuming writes where the whole lines end."""
    path = written(tmp_path / "calls.jsonl", ended(0), ended(1))
    path.write_bytes(path.read_bytes()[:-9])
    journal = Journal(path, "none", start=read_journal(path).size)
    journal.append(ended(2))
    journal.close()
    assert list(read_journal(path).values()) == [ended(0), ended(2)]


@given(data=st.data(), bit=st.integers(0, 7))
@settings(max_examples=400, deadline=None)
def test_a_flipped_bit_is_never_accepted(
    lines: list[bytes], reading: Callable[[bytes], Recording], data: st.DataObject, bit: int
) -> None:
    """It is an error with its place; in the last end of line it looks torn, and is."""
    content = bytearray(b"".join(lines))
    place = data.draw(st.integers(0, len(content) - 1))
    number = content[:place].count(b"\n") + 1
    content[place] ^= 1 << bit
    if place == len(content) - 1:
        assert reading(bytes(content)).torn
    else:
        with pytest.raises(JournalError, match=rf"calls\.jsonl:{number}: ") as caught:
            reading(bytes(content))
        assert "\n" not in str(caught.value)


@given(data=st.data(), junk=st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_damage_within_a_line_is_never_accepted(
    lines: list[bytes], reading: Callable[[bytes], Recording], data: st.DataObject, junk: bytes
) -> None:
    """Bytes lost, overwritten or put in: the line is named."""
    number = data.draw(st.integers(1, len(lines)))
    body = lines[number - 1][:-1]
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, len(body)))
    damaged = body[:start] + junk + body[end:]
    if damaged != body:
        content = [*lines[: number - 1], damaged + b"\n", *lines[number:]]
        named = number + damaged.startswith(body + b"\n")  # else the line is whole: the next is not
        with pytest.raises(JournalError, match=rf"calls\.jsonl:{named}: "):
            reading(b"".join(content))


def test_swapped_fields_are_never_accepted(
    lines: list[bytes], reading: Callable[[bytes], Recording]
) -> None:
    """A line with the same fields in another order was not written by us."""
    fields = lines[0][1:-2].split(b",")
    for one, other in itertools.combinations(range(len(fields)), 2):
        swapped = fields.copy()
        swapped[one], swapped[other] = swapped[other], swapped[one]
        with pytest.raises(JournalError, match=r"calls\.jsonl:1: "):
            reading(b"{" + b",".join(swapped) + b"}\n" + lines[1])


def test_a_checksum_belongs_to_its_own_line(
    lines: list[bytes], reading: Callable[[bytes], Recording]
) -> None:
    """The checksum of another line is of no use."""
    mixed = lines[0][:-20] + lines[1][-20:]
    with pytest.raises(JournalError, match=r"calls\.jsonl:1: .* checksum"):
        reading(mixed)


@pytest.mark.parametrize("text", ["", "[]", '{"type":"Unknown"', '{"type":"CallEnded"', '{"\xff"'])
def test_a_line_that_is_no_call_is_named(
    reading: Callable[[bytes], Recording], lines: list[bytes], text: str
) -> None:
    """Even a line whose checksum is right must say how a call ended."""
    body = text.encode("latin-1")
    line = body + b',"check":"%08x"}\n' % crc32(body)
    with pytest.raises(JournalError, match=r"calls\.jsonl:2: not a call: "):
        reading(lines[0] + line)


def test_a_call_ends_once(tmp_path: Path) -> None:
    """Two different replies to one call cannot both be what the run was given."""
    path = written(tmp_path / "calls.jsonl", ended(0, "one"), ended(0, "another"))
    with pytest.raises(JournalError, match=r"calls\.jsonl:2: the call .* ended before"):
        read_journal(path)


def test_the_same_end_twice_is_one_end(tmp_path: Path) -> None:
    path = written(tmp_path / "calls.jsonl", ended(0), ended(0))
    assert list(read_journal(path).values()) == [ended(0)]


def test_a_failed_call_may_be_asked_again(tmp_path: Path) -> None:
    """Its later end counts."""
    path = written(tmp_path / "calls.jsonl", ended(0, None, "rate"), ended(0, "at last"))
    assert list(read_journal(path).values()) == [ended(0, "at last")]


def test_a_journal_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"calls\.jsonl: there is no such journal"):
        read_journal(tmp_path / "calls.jsonl")
    with pytest.raises(JournalError, match="cannot be read: Is a directory"):
        read_journal(tmp_path)


def test_a_line_is_json_for_everybody(lines: list[bytes]) -> None:
    """Other tools read the journal without knowing of its checksums."""
    plain = [msgspec.json.decode(line) for line in lines]
    assert [entry["step"] for entry in plain] == [0, 1, 1, 2]


def test_names_that_agree_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index stands for identities by 64 bits; two that share them are still two."""
    monkeypatch.setattr("storage.journal._name", lambda _: 7)
    path = written(tmp_path / "calls.jsonl", ended(0), ended(1, None, "rate"), ended(1), ended(2))
    recording = read_journal(path)
    assert list(recording.values()) == [ended(0), ended(1), ended(2)]
    assert len(recording) == 3


def test_every_end_is_read_back(tmp_path: Path) -> None:
    """Also of calls that were asked again, or are to be: each was paid for."""
    ends = [ended(0, None, "rate"), ended(1, None, "rate"), ended(0, "at last"), ended(2)]
    entries: tuple[Entry, ...] = (*ends[:2], RetryStarted(), failed_attempt(0), *ends[2:])
    path = written(tmp_path / "calls.jsonl", *entries)
    path.write_bytes(path.read_bytes() + b'{"type":"Call')
    recording = read_journal(path)
    assert list(recording.every()) == ends
    assert list(recording.values()) == ends[2:]


def test_a_retry_says_which_vectors_it_forgot(tmp_path: Path) -> None:
    """The last one counts."""
    entries = (RetryStarted(vectors=7), ended(0), RetryStarted(vectors=9))
    assert read_journal(written(tmp_path / "one.jsonl", *entries)).vectors == 9
    assert read_journal(written(tmp_path / "other.jsonl", RetryStarted())).vectors == 0


def test_what_follows_a_retry_may_differ(tmp_path: Path) -> None:
    """A call that succeeds at last teaches later ones, so these were asked again."""
    entries: tuple[Entry, ...] = (ended(0, "one"), RetryStarted(), ended(0, "another"))
    recording = read_journal(written(tmp_path / "calls.jsonl", *entries))
    assert recording.retried
    assert list(recording.values()) == [ended(0, "another")]
