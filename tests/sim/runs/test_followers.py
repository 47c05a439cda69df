"""A follower gives the same output live, in a replay and in a run that was resumed."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree, rmtree
from types import UnionType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from agents.models.model import ChatModel
from engine.errors import ServiceError
from engine.messages import (
    ActionTaken,
    Envelope,
    EpisodeEnded,
    HandlerFailed,
    Message,
    ModelReplied,
    RunEnded,
    UserResponded,
)
from sim.config.layers import configured
from sim.config.run import RunConfig
from sim.runs.listeners import Listener, Listeners
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.runs.run import run
from storage.runs import RunDirectory
from tests.support import dying
from tests.support.dying import Death, Noted
from tests.support.small import SMALL, Counted, Failing, lines_of, synthetic

CONCURRENCY = st.sampled_from([1, 2, 8, 64, 1_000])


@dataclass
class Notes:
    """Writes down all that it hears, to the byte."""

    written: bytearray = field(default_factory=bytearray)

    def __call__(self, envelope: Envelope[Message]) -> None:
        self.written += msgspec.json.encode(envelope) + b"\n"

    def result(self) -> str:
        return self.written.decode()


@dataclass
class Slow:
    """Takes its time, while the run goes on."""

    notes: Notes = field(default_factory=Notes)

    async def __call__(self, envelope: Envelope[Message]) -> None:
        await asyncio.sleep(0)
        self.notes(envelope)

    def result(self) -> str:
        return self.notes.result()


@dataclass
class Choosing(Notes):
    """Hears what it cares for."""

    hears: type | UnionType = UserResponded | EpisodeEnded | HandlerFailed | RunEnded


@dataclass
class Fickle(Notes):
    """Breaks off in the middle."""

    left: int = 25

    def __call__(self, envelope: Envelope[Message]) -> None:
        super().__call__(envelope)
        self.left -= 1
        if not self.left:
            raise RuntimeError("enough")


@dataclass
class Talk:
    """A metric: how many words each role said, by step, and of which actions nothing is known."""

    hears: type | UnionType = ModelReplied | ActionTaken
    words: Counter[str] = field(default_factory=Counter)
    places: list[tuple[int | None, int, int]] = field(default_factory=list)

    def __call__(self, envelope: Envelope[ModelReplied | ActionTaken]) -> None:
        message = envelope.message
        if isinstance(message, ModelReplied):
            self.words[f"{message.role} at {message.step}"] += len(message.text.split())
        else:
            self.places.append((envelope.episode, envelope.n, envelope.time))

    def result(self) -> dict[str, Any]:
        return {"words": dict(self.words), "places": self.places}


Kind = Callable[[], Listener]
KINDS: list[Kind] = [Notes, Slow, Choosing, Fickle, Talk]


@dataclass(frozen=True)
class Followed:
    """A run, and what followers of all kinds told of it."""

    directory: RunDirectory
    told: dict[str, bytes]


def everybody() -> Listeners:
    return Listeners({kind.__name__: kind() for kind in KINDS})


def told(followers: Listeners) -> dict[str, bytes]:
    """Return what followers told, encoded: bytes are compared, and not values."""
    return {name: msgspec.json.encode(found) for name, found in followers.results().items()}


def config(**settings: Any) -> RunConfig:
    return configured(SMALL, settings)


def followed(out: Path, model: ChatModel | None = None, **how: Any) -> Followed:
    """Return a run that was followed live."""
    followers = everybody()
    with capture_logs():
        run(config(**how), out=out, model=model, listeners=followers, environment=synthetic())
    return Followed(RunDirectory(out), told(followers))


def over_record(run: RunDirectory, **how: Any) -> dict[str, bytes]:
    """Return what followers tell of a recorded run."""
    followers = everybody()
    with capture_logs():
        assert replay(run.path, listeners=followers, environment=synthetic(), **how).agrees
    return told(followers)


def over_rest(run: RunDirectory, **how: Any) -> dict[str, bytes]:
    """Return what followers tell of a run that is resumed."""
    followers = everybody()
    with capture_logs():
        resume(run.path, listeners=followers, environment=synthetic(), **how)
    return told(followers)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    """A run that nobody disturbed."""
    return followed(tmp_path_factory.mktemp("live") / "run")


def test_a_follower_hears_what_stands_in_the_trace(live: Followed) -> None:
    """The very bytes, from the head to the end."""
    written = msgspec.json.decode(live.told["Notes"], type=str)
    assert written.encode() == live.directory.trace.read_bytes()
    assert live.told["Slow"] == live.told["Notes"]


def test_followers_of_all_kinds_tell_something(live: Followed) -> None:
    """What is empty would be the same everywhere."""
    lines = {name: len(text) for name, text in live.told.items()}
    assert lines.keys() == {kind.__name__ for kind in KINDS}
    assert 0 < lines["Fickle"] < lines["Notes"]
    assert 0 < lines["Choosing"] < lines["Notes"]
    assert b"planner at 0" in live.told["Talk"]


@given(concurrency=CONCURRENCY, bounds=st.sampled_from([{}, {"running": 1}, {"unreleased": 1}]))
@settings(max_examples=10, deadline=None)
def test_concurrency_leaves_no_mark_on_followers(
    concurrency: int,
    bounds: dict[str, int],
    live: Followed,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Canonical order is what they hear, whatever order the episodes come to their ends in."""
    out = tmp_path_factory.getbasetemp() / "other"
    rmtree(out, ignore_errors=True)
    how: dict[str, Any] = {"concurrency": concurrency, **bounds}
    assert followed(out, **how).told == live.told


@given(concurrency=CONCURRENCY)
@settings(max_examples=8, deadline=None)
def test_a_follower_tells_the_same_over_a_record(concurrency: int, live: Followed) -> None:
    """A metric of tomorrow can be had from the runs of today."""
    assert over_record(live.directory, concurrency=concurrency) == live.told


@given(
    calls=st.integers(0, 1 << 20),
    before=CONCURRENCY,
    after=CONCURRENCY,
    over=CONCURRENCY,
)
@settings(max_examples=15, deadline=None)
def test_a_follower_tells_the_same_of_a_resumed_run(
    calls: int,
    before: int,
    after: int,
    over: int,
    live: Followed,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """It hears the run from its head on, wherever it stopped; and so over its record."""
    out = tmp_path_factory.getbasetemp() / "stopped"
    rmtree(out, ignore_errors=True)
    whole = live.directory.read_summary()["calls"]
    model = Counted(calls % whole)
    with pytest.raises(ServiceError, match="the service is gone"):
        run(config(concurrency=before), out=out, model=model, environment=synthetic())
    directory = RunDirectory(out)
    assert over_rest(directory, settings=[{"concurrency": after}]) == live.told
    assert over_record(directory, concurrency=over) == live.told


def test_a_follower_may_have_heard_the_first_part_before(live: Followed, tmp_path: Path) -> None:
    """Then it told the beginning of what it tells in the end: none of it is taken back."""
    notes = Notes()
    with pytest.raises(ServiceError):
        run(config(), out=tmp_path / "run", model=Counted(60), listeners=Listeners({"n": notes}))
    whole = live.directory.trace.read_bytes()
    assert 0 < len(notes.written) < len(whole)
    assert whole.startswith(notes.written)
    assert over_rest(RunDirectory(tmp_path / "run")) == live.told


@given(cut=st.integers(0, 1 << 20), concurrency=CONCURRENCY)
@settings(max_examples=12, deadline=None)
def test_a_follower_over_a_torn_record_hears_whole_episodes(
    cut: int, concurrency: int, live: Followed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A run that was killed while it wrote is heard up to its last whole episode."""
    torn = RunDirectory(tmp_path_factory.getbasetemp() / "torn")
    rmtree(torn.path, ignore_errors=True)
    copytree(live.directory.path, torn.path)
    torn.summary.unlink()
    content, head = live.directory.trace.read_bytes(), len(lines_of(live.directory)[0])
    torn.trace.write_bytes(content[: head + cut % (len(content) - head)])
    notes = Notes()
    replay(torn.path, concurrency=concurrency, listeners=Listeners({"notes": notes}))
    assert content.startswith(notes.written)
    assert torn.trace.read_bytes().startswith(notes.written)
    assert over_rest(torn) == live.told


@pytest.mark.parametrize(
    "death",
    [
        Death("calls.jsonl", 1),
        Death("calls.jsonl", 20, 0.5),
        Death("trace.jsonl", 2, 0.5),
        Death("trace.jsonl", 4, 1.0),
        Death("trace.jsonl", 6, 1.0),
        Death("memory"),
        Death("summary.json", 1, 0.0),
    ],
    ids=lambda death: f"{death.file} {death.count} {death.part}",
)
def test_a_follower_tells_the_same_of_a_run_that_was_killed(death: Death, tmp_path: Path) -> None:
    """Wherever the process died: after that, and over the record of it."""
    plain = followed(tmp_path / "plain", **dying.SMALL)
    directory = dying.begin(tmp_path / "run", Noted(tmp_path / "asked"), death)
    assert over_rest(directory) == plain.told
    assert over_record(directory, concurrency=3) == plain.told


@pytest.mark.parametrize(
    "how",
    [
        {"arrivals": "all"},
        {"arrivals": "poisson:0.02", "publication_delay": 20},
        {"arrivals": "poisson:0.05", "sessions": 2, "episodes": 3},
        {"agent": "random", "episodes": 30},
    ],
    ids=["all", "poisson", "returning", "random"],
)
def test_a_follower_tells_the_same_in_every_world(how: dict[str, Any], tmp_path: Path) -> None:
    known = followed(tmp_path / "run", **how)
    assert over_record(known.directory, concurrency=2) == known.told


def test_failures_are_heard_again(tmp_path: Path) -> None:
    known = followed(tmp_path / "run", Failing())
    assert b"HandlerFailed" in known.told["Choosing"]
    assert over_record(known.directory) == known.told


def test_a_follower_over_one_episode_hears_that_one(live: Followed) -> None:
    """Between the head and the end of a run that has no other."""
    notes = Notes()
    replay(live.directory.path, episode=3, listeners=Listeners({"notes": notes}))
    mine = [line for line in lines_of(live.directory) if line.startswith(b'{"episode":3,')]
    first, *heard, last = bytes(notes.written).splitlines(keepends=True)
    assert (first, heard) == (lines_of(live.directory)[0], mine)
    assert b'"RunEnded"' in last


def test_a_follower_that_broke_off_breaks_off_there_again(live: Followed) -> None:
    """It hurts nobody; the others hear the rest."""
    followers = Listeners({"fickle": Fickle(), "notes": Notes()})
    with capture_logs() as logs:
        assert replay(live.directory.path, listeners=followers).agrees
    assert [log["event"] for log in logs] == ["follower dropped"]
    assert len(msgspec.json.decode(told(followers)["fickle"], type=str).splitlines()) == 25


def test_a_replay_tells_what_followers_found(live: Followed) -> None:
    """As the summary of the run does."""
    done = replay(live.directory.path, listeners=Listeners({"Talk": Talk()}))
    known = live.directory.read_summary()["listeners"]["Talk"]
    assert msgspec.json.encode(done.listeners) == msgspec.json.encode({"Talk": known})
