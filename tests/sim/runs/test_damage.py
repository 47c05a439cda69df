"""Damage: whatever happens to a journal or a trace, a run comes out right or one sentence says why.

Never another digest, never another exception, never a wait without end.
"""

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BillpError, ServiceError, TraceError
from sim.config.layers import configured
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.runs.run import run
from storage.runs import RunDirectory
from tests.support.spent import Spent

TINY = {"episodes": 3, "limit": 3, "arrivals": "batches:1", "prompts": False, "fsync": "none"}
PLACE = re.compile(
    r"(calls|trace)\.jsonl:\d+: "  # a line
    r"|(calls|trace)\.jsonl: (the trace is empty|ends early)"
    r"|^episode \d+: "
    r"|RunStarted\.environment"
)

Damage = Callable[[bytes], bytes]


def flipped(place: int, bits: int) -> Damage:
    """Change some bits of a byte."""

    def damage(content: bytes) -> bytes:
        at = place % len(content)
        return content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :]

    return damage


def cut_off(place: int) -> Damage:
    """Lose the end."""
    return lambda content: content[: place % len(content)]


def inserted(place: int, junk: bytes) -> Damage:
    """Find something in the middle that does not belong there."""

    def damage(content: bytes) -> bytes:
        at = place % (len(content) + 1)
        return content[:at] + junk + content[at:]

    return damage


def on_lines(change: Callable[[list[bytes]], None]) -> Damage:
    def damage(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        change(lines)
        return b"".join(lines)

    return damage


def dropped(place: int) -> Damage:
    """Lose a line."""
    return on_lines(lambda lines: lines.__delitem__(place % len(lines)))


def repeated(place: int, where: int) -> Damage:
    """Write a line once more, there or elsewhere."""
    return on_lines(lambda lines: lines.insert(where % (len(lines) + 1), lines[place % len(lines)]))


def swapped(place: int, other: int) -> Damage:
    """Let two lines change places."""

    def change(lines: list[bytes]) -> None:
        one, two = place % len(lines), other % len(lines)
        lines[one], lines[two] = lines[two], lines[one]

    return on_lines(change)


places = st.integers(0, 1 << 20)
damages = st.one_of(
    st.builds(flipped, places, st.integers(1, 255)),
    st.builds(cut_off, places),
    st.builds(inserted, places, st.binary(min_size=1, max_size=20) | st.just(b"\n")),
    st.builds(dropped, places),
    st.builds(repeated, places, places),
    st.builds(swapped, places, places),
)
files = st.sampled_from(["calls.jsonl", "trace.jsonl"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    out = tmp_path_factory.mktemp("finished") / "run"
    run(configured(TINY), out=out)
    return RunDirectory(out)


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with an episode and a half."""
    out = tmp_path_factory.mktemp("unfinished") / "run"
    with pytest.raises(ServiceError):
        run(configured(TINY), out=out, model=Spent(16))
    return RunDirectory(out)


@pytest.fixture(scope="module")
def unsummarised(finished: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that was killed when its trace was at its end."""
    directory = copied(finished, tmp_path_factory.mktemp("unsummarised") / "run")
    directory.summary.unlink()
    return directory


def copied(directory: RunDirectory, path: Path) -> RunDirectory:
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(directory.path, path)
    return RunDirectory(path)


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Raise TimeoutError instead of waiting for ever."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_sentence(error: BillpError) -> None:
    """Assert that one sentence names the place."""
    assert "\n" not in str(error)
    assert PLACE.search(str(error)), str(error)


def whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def digest(directory: RunDirectory) -> str:
    return sha256(directory.trace.read_bytes()).hexdigest()


def check_resume(directory: RunDirectory, whole: RunDirectory) -> None:
    """Assert that a damaged run comes to the end of the *whole* one, or that it is said why not."""
    before = {path: path.read_bytes() for path in (directory.journal, directory.trace)}
    try:
        with no_longer_than(20):
            summary = resume(directory.path)
    except BillpError as error:
        check_sentence(error)
        assert not directory.summary.exists()
    else:
        assert summary is not None
        assert summary.digest == digest(directory) == digest(whole)
    for path, content in before.items():
        assert path.read_bytes().startswith(whole_lines(content))


@given(name=files, damage=damages)
@settings(max_examples=75, deadline=None)
def test_a_damaged_run_is_resumed_to_its_digest_or_refused(
    name: str,
    damage: Damage,
    unfinished: RunDirectory,
    finished: RunDirectory,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """All whole lines stay on disk, whatever is said."""
    directory = copied(unfinished, tmp_path_factory.getbasetemp() / "damaged")
    path = directory.path / name
    path.write_bytes(damage(path.read_bytes()))
    check_resume(directory, finished)


@given(name=files, damage=damages)
@settings(max_examples=50, deadline=None)
def test_so_is_one_that_had_come_to_its_end(
    name: str,
    damage: Damage,
    unsummarised: RunDirectory,
    finished: RunDirectory,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Nothing hides behind the end of a trace."""
    directory = copied(unsummarised, tmp_path_factory.getbasetemp() / "damaged")
    path = directory.path / name
    path.write_bytes(damage(path.read_bytes()))
    check_resume(directory, finished)


@given(name=files, damage=damages)
@settings(max_examples=75, deadline=None)
def test_damage_to_a_finished_run_is_found_by_a_replay(
    name: str, damage: Damage, finished: RunDirectory, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What differs is shown, or the file is refused; a replay changes nothing."""
    directory = copied(finished, tmp_path_factory.getbasetemp() / "damaged")
    path = directory.path / name
    path.write_bytes(damage(path.read_bytes()))
    damaged = path.read_bytes()
    try:
        with no_longer_than(20):
            done = replay(directory.path)
    except BillpError as error:
        check_sentence(error)
    else:
        assert done.digest == digest(directory)
        assert done.agrees == (digest(directory) == digest(finished))
    assert path.read_bytes() == damaged


def test_what_stands_after_the_end_is_said(unsummarised: RunDirectory, tmp_path: Path) -> None:
    """A digest that did not count it would not be that of the file."""
    directory = copied(unsummarised, tmp_path / "run")
    lines = directory.trace.read_bytes().splitlines(keepends=True)
    directory.trace.write_bytes(b"".join([*lines, lines[-1]]))
    with pytest.raises(BillpError, match=rf"trace\.jsonl:{len(lines) + 1}: .*no such line"):
        resume(directory.path)
    assert not directory.summary.exists()


def test_an_emptied_trace_is_said_by_a_replay(finished: RunDirectory, tmp_path: Path) -> None:
    directory = copied(finished, tmp_path / "run")
    directory.trace.write_bytes(b"")
    with pytest.raises(TraceError, match=r"trace\.jsonl: the trace is empty"):
        replay(directory.path)
