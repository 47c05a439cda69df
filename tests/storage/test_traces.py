"""Traces: the same bytes for the same run, read back line by line."""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import TraceError
from engine.messages import (
    SCHEMA,
    Envelope,
    EpisodeStarted,
    Message,
    PlanMade,
    Rated,
    Recalled,
    RunEnded,
    RunStarted,
)
from engine.tree import encode
from storage.files import AppendOnly
from storage.traces import (
    LineHead,
    TraceWriter,
    decode_line,
    digest_of,
    head_of,
    opening,
    opening_of,
    read_episodes,
    read_head,
    read_lines,
    read_trace,
)

HEAD = RunStarted(
    schema=SCHEMA, agent="billp", model="embedded", environment="ab", seed=7, settings=(("x", 1),)
)
MESSAGES: tuple[Message, ...] = (
    HEAD,
    EpisodeStarted(
        user=3,
        session=0,
        arrival=5,
        history=(Rated(item=1, title="Emma\n“2”", rating=4.5),),
        memories=(),
    ),
    PlanMade(step=0, thought="", reflections=(Recalled(position=0, episode=1, distance=0.5),)),
    RunEnded(episodes=1, failed=0),
)
ENVELOPES = [
    Envelope(episode=None, n=n, cause=n - 1 if n else None, time=n, message=message)
    for n, message in enumerate(MESSAGES)
]
LINES = [encode(envelope) + b"\n" for envelope in ENVELOPES]


def trace(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(lines))
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Every envelope comes back equal, whatever line ends its texts hold."""
    assert list(read_trace(trace(tmp_path / "trace.jsonl", *LINES))) == ENVELOPES


def test_the_writer_counts_and_digests_what_it_writes(tmp_path: Path) -> None:
    """The digest is the file's sha256 at every moment, as `sha256sum` would say."""
    writer = TraceWriter(AppendOnly(tmp_path / "trace.jsonl", "none"))
    for lines in (LINES[0], LINES[1] + LINES[2], LINES[3]):
        writer.write(lines)
        written = writer.file.path.read_bytes()
        assert writer.digest == sha256(written).hexdigest() == digest_of(writer.file.path)
        assert (writer.lines, writer.size) == (written.count(b"\n"), len(written))
    writer.close()
    assert writer.file.closed


def test_the_digest_does_not_depend_on_portions(tmp_path: Path) -> None:
    """Line by line or all at once: the same run has the same digest."""
    digests = set()
    for name, portions in (("one", LINES), ("other", [b"".join(LINES)])):
        writer = TraceWriter(AppendOnly(tmp_path / name, "none"))
        for portion in portions:
            writer.write(portion)
        writer.close()
        digests.add(writer.digest)
    assert len(digests) == 1


def test_lines_are_numbered_and_bare(tmp_path: Path) -> None:
    path = trace(tmp_path / "trace.jsonl", *LINES)
    assert list(read_lines(path)) == [(n, line[:-1]) for n, line in enumerate(LINES, 1)]


@pytest.mark.parametrize("length", range(1, len(LINES[-1])))
def test_a_torn_last_line_is_left_out(tmp_path: Path, length: int) -> None:
    """Wherever a crash cuts the last line, the rest is read."""
    path = trace(tmp_path / "trace.jsonl", *LINES[:-1], LINES[-1][:length])
    assert list(read_trace(path)) == ENVELOPES[:-1]


@given(junk=st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")))
@settings(max_examples=200, deadline=None)
def test_a_line_that_is_no_envelope_is_named(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    """Whatever stands there, it is one sentence with the place."""
    path = trace(tmp_path_factory.mktemp("trace") / "trace.jsonl", LINES[0], junk + b"\n")
    with pytest.raises(TraceError, match=r"trace\.jsonl:2: not an envelope: "):
        list(read_trace(path))


@given(place=st.integers(0, len(LINES[1]) - 2), byte=st.integers(0, 255))
@settings(max_examples=400, deadline=None)
def test_a_damaged_envelope_raises_nothing_else(place: int, byte: int) -> None:
    """A changed byte gives another envelope or a TraceError, never an error of another class."""
    line = bytearray(LINES[1][:-1])
    line[place] = byte
    with suppress(TraceError):
        assert isinstance(decode_line(Path("t"), 9, bytes(line)), Envelope)


@pytest.mark.parametrize("field", ["n", "message", "unknown"])
def test_endless_nesting_is_no_envelope(tmp_path: Path, field: str) -> None:
    """A line cannot crash its reader."""
    line = f'{{"{field}":'.encode() + b"[" * 100_000
    with pytest.raises(TraceError, match="t:1: not an envelope: "):
        decode_line(Path("t"), 1, line)
    with pytest.raises(TraceError, match="1: expected RunStarted: "):
        read_head(trace(tmp_path / "t", line, b"\n"))


def test_the_lines_before_a_bad_one_are_read(tmp_path: Path) -> None:
    """A trace is read as a stream: what comes first is there before the error is."""
    envelopes = read_trace(trace(tmp_path / "t", LINES[0], LINES[1], b"{}\n"))
    assert [next(envelopes), next(envelopes)] == ENVELOPES[:2]
    with pytest.raises(TraceError, match="t:3: "):
        next(envelopes)


def test_the_head_says_what_decides_the_run(tmp_path: Path) -> None:
    assert read_head(trace(tmp_path / "t", *LINES)) == HEAD


@pytest.mark.parametrize(("schema", "age"), [(SCHEMA + 1, "newer"), (SCHEMA - 1, "older")])
def test_another_schema_is_refused_by_name(tmp_path: Path, schema: int, age: str) -> None:
    """Even if its messages no longer decode: the sentence says which version, and what to do."""
    line = msgspec.json.encode({"message": {"type": "Renamed", "schema": schema}})
    with pytest.raises(TraceError, match=rf"t:1: .*schema {schema}, {age} than {SCHEMA}") as caught:
        read_head(trace(tmp_path / "t", line, b"\n"))
    assert "version of billp" in caught.value.hint


@pytest.mark.parametrize("lines", [(), LINES[1:], (LINES[0][:-1],), (b"\n",), (b"\xff{}\n",)])
def test_a_trace_without_a_head_is_refused(tmp_path: Path, lines: tuple[bytes, ...]) -> None:
    """Empty, torn in its first line, or beginning with something else."""
    with pytest.raises(TraceError, match="t:1: expected RunStarted"):
        read_head(trace(tmp_path / "t", *lines))


def test_a_trace_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """By whoever reads it."""
    for read in (lambda path: list(read_trace(path)), read_head, digest_of):
        with pytest.raises(TraceError, match="t: there is no such trace"):
            read(tmp_path / "t")
        with pytest.raises(TraceError, match="cannot be read: Is a directory"):
            read(tmp_path)


@pytest.mark.parametrize("episode", [None, 0, 12])
def test_a_head_is_told_from_the_bytes(episode: int | None) -> None:
    """It says what decoding would, and altered bytes make none, whatever they are."""
    envelope = Envelope(episode=episode, n=3, cause=2, time=9, message=MESSAGES[2])
    line = encode(envelope)
    assert head_of(line) == LineHead(episode, 3, "PlanMade")
    assert opening_of(line) == opening(episode) == line[: len(opening(episode))]
    assert head_of(line.replace(b"PlanMade", b"Plan-")) == LineHead(episode, 3, "")
    assert head_of(b'{"episode":%s,"n":0,' % (b"9" * 5000)) == LineHead(None, None, "")


def in_episodes(*places: tuple[int, Message]) -> list[bytes]:
    envelopes = (
        Envelope(episode=episode, n=0, cause=None, time=0, message=message)
        for episode, message in places
    )
    return [LINES[0], *(encode(envelope) + b"\n" for envelope in envelopes), LINES[3]]


def test_episodes_are_read_with_what_is_wanted_of_them(tmp_path: Path) -> None:
    """The run's own lines are of none; what is not wanted is not even decoded."""
    lines = in_episodes((0, MESSAGES[1]), (0, MESSAGES[2]), (1, MESSAGES[1]))
    lines[1] = lines[1].replace(b'"user":3', b'"user":"x"')
    found = read_episodes(trace(tmp_path / "t", *lines), {PlanMade})
    told = [(number, [envelope.message for envelope in envelopes]) for number, envelopes in found]
    assert told == [(0, [MESSAGES[2]]), (1, [])]


@pytest.mark.parametrize(("old", "new"), [(b'"n":0', b'"n":x'), (b"PlanMade", b'PlanMade"')])
def test_an_episode_with_a_damaged_line_is_not_read(tmp_path: Path, old: bytes, new: bytes) -> None:
    """Whether its head still reads or not: no line that may have been wanted is passed over."""
    lines = [line.replace(old, new) for line in in_episodes((0, MESSAGES[2]))]
    with pytest.raises(TraceError, match="t:2: not an envelope: "):
        list(read_episodes(trace(tmp_path / "t", *lines), {PlanMade}))
