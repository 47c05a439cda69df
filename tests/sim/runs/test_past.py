"""Beginning after closed episodes: what is known of them stands for them, or is not believed."""

from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from structlog.testing import capture_logs

from agents.billp import planner
from agents.models.embedded import EmbeddedModel
from engine.errors import ConfigError, DivergenceError, ServiceError, TraceError
from engine.messages import Envelope, Message
from sim.config.layers import configured
from sim.metrics.summary import Summary
from sim.runs import past
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.runs.run import run
from storage.checkpoints import read_checkpoint
from storage.runs import RunDirectory
from tests.support.dying import SMALL
from tests.support.spent import Spent

EPISODES = 8
WORLDS: dict[str, dict[str, Any]] = {
    "returning": {"arrivals": "poisson:0.05", "sessions": 2},
    "tested": {"test_episodes": 2, "test_every": 3},
}


class Heard:
    """Hears a run, or follows it."""

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.messages: list[Message] = []

    def __call__(self, envelope: Envelope[Message]) -> None:
        self.messages.append(envelope.message)


@pytest.fixture(autouse=True)
def _one_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "MADE_AGAIN", 1)


def halted(world: dict[str, Any], place: Path) -> tuple[Summary, RunDirectory]:
    """Return what comes of a run, and the same run stopped when most of its calls were made."""
    config = configured({**SMALL, "episodes": EPISODES, **world})
    whole = run(config, out=place / "whole")
    with pytest.raises(ServiceError):
        run(config, out=place / "half", model=Spent(whole.calls * 3 // 4))
    return whole, RunDirectory(place / "half")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, RunDirectory]:
    return halted({}, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def whole(both: tuple[Summary, RunDirectory]) -> Summary:
    return both[0]


@pytest.fixture
def half(both: tuple[Summary, RunDirectory]) -> RunDirectory:
    """The run that was stopped; nobody writes to it."""
    return both[1]


@pytest.fixture
def unfinished(half: RunDirectory, tmp_path: Path) -> RunDirectory:
    return RunDirectory(Path(copytree(half.path, tmp_path / "run")))


def alter(directory: RunDirectory, *, episode: int) -> None:
    """Let the first reward of an episode be another in the trace."""
    content = directory.trace.read_bytes()
    place = content.index(b'"reward":', content.index(b'{"episode":%d,' % episode)) + 9
    other = b"2" if content[place : place + 1] != b"2" else b"3"
    directory.trace.write_bytes(content[:place] + other + content[place + 1 :])


def told(summary: Summary | None) -> dict[str, Any]:
    """Return what a summary says but for how long it took, and where."""
    assert summary is not None
    ways = ("run", "seconds", "live_calls", "utilization", "provenance", "manifest")
    return {
        name: value
        for name, value in summary.flat().items()
        if name not in ways and not name.endswith(("seconds", "rate"))
    }


def planned(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> tuple[Summary, set[int]]:
    """Resume a run; return what came of it, and the episodes that were made."""
    made: set[int] = set()
    plan = planner.Planner.plan

    async def noting(self: planner.Planner, delivery: Any) -> None:
        made.add(delivery.number)
        await plan(self, delivery)

    monkeypatch.setattr(planner.Planner, "plan", noting)
    summary = resume(directory.path, model=EmbeddedModel())
    assert summary is not None
    return summary, made


def test_a_resume_begins_where_the_checkpoint_ends(
    unfinished: RunDirectory, whole: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Episodes before it are not made again, and nothing that is told of the run shows it."""
    summary, made = planned(unfinished, monkeypatch)
    assert min(made) >= 2
    assert told(summary) == told(whole)
    assert not unfinished.checkpoint.exists()
    assert replay(unfinished.path).agrees


@pytest.mark.parametrize("world", WORLDS)
def test_a_past_may_have_returns_and_tests(
    world: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes when, and what it counts for, follows from what is known of those before."""
    whole, half = halted(WORLDS[world], tmp_path)
    summary, made = planned(half, monkeypatch)
    assert 0 not in made
    assert told(summary) == told(whole)


def test_who_hears_a_run_hears_its_past(unfinished: RunDirectory, whole: Summary) -> None:
    """Live or in order, nothing is missing of what was not made again."""
    live, ordered = Heard(live=True), Heard(live=False)
    resume(unfinished.path, model=EmbeddedModel(), listeners={"live": live, "ordered": ordered})
    assert len(live.messages) == len(ordered.messages) == whole.messages


@pytest.mark.parametrize("spoil", ["torn", "altered", "foreign", "empty", "none"])
def test_what_is_in_doubt_is_made_again(
    spoil: str, unfinished: RunDirectory, whole: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that is damaged or of another code costs time; one line says so."""
    path = unfinished.checkpoint
    lines = path.read_bytes().splitlines(keepends=True)
    spoilt = {
        "torn": b"".join(lines[:3]) + lines[3][:20],
        "altered": lines[0] + lines[1].replace(b'"digest":"', b'"digest":"0') + b"".join(lines[2:]),
        "foreign": b"".join(lines),
        "empty": b"",
    }
    path.unlink() if spoil == "none" else path.write_bytes(spoilt[spoil])
    if spoil == "foreign":
        monkeypatch.setattr("sim.runs.past.this_code", lambda: "another")
    with capture_logs() as logs:
        assert told(resume(unfinished.path, model=EmbeddedModel())) == told(whole)
    assert [entry["event"][:14] for entry in logs if "why" in entry] == ["the checkpoint"]


def test_a_trace_that_was_altered_is_not_believed(unfinished: RunDirectory) -> None:
    """The checkpoint knows the digest of every episode's lines, so the change is found."""
    alter(unfinished, episode=1)
    with pytest.raises(DivergenceError, match="episode 1"):
        resume(unfinished.path, model=EmbeddedModel())


def test_calls_that_the_journal_lost_are_asked_again(
    unfinished: RunDirectory, whole: Summary
) -> None:
    """The checkpoint stands for nothing that the journal does not explain."""
    lines = unfinished.journal.read_bytes().splitlines(keepends=True)
    unfinished.journal.write_bytes(b"".join(lines[: len(lines) // 4]))
    summary = resume(unfinished.path, model=EmbeddedModel())
    assert summary is not None
    assert (summary.digest, summary.live_calls) == (whole.digest, whole.calls - len(lines) // 4)


def test_a_checkpoint_holds_each_episode_once(half: RunDirectory) -> None:
    """It grows with the run: what is written again after a resume does not count twice."""
    lines = half.checkpoint.read_bytes().splitlines()
    traced = half.trace.read_bytes().count(b'"type":"EpisodeStarted"')
    assert len(lines) == 1 + traced
    assert read_checkpoint(half.checkpoint, "another").size == 0


# -- replays that begin late


@pytest.mark.parametrize("finished", [False, True])
def test_a_replay_begins_with_an_episode(
    finished: bool, half: RunDirectory, whole: Summary
) -> None:
    """It compares that one and all after it; followers hear those before it as recorded."""
    path = Path(whole.run) if finished else half.path
    all_heard, heard = Heard(live=False), Heard(live=False)
    everything = replay(path, listeners={"heard": all_heard})
    done = replay(path, start=3, listeners={"heard": heard})
    before = RunDirectory(path).trace.read_bytes()
    passed = before[: before.index(b'{"episode":3,')].count(b"\n") - 1
    assert done.agrees
    assert done.envelopes == everything.envelopes - passed
    assert heard.messages == all_heard.messages


def test_a_replay_that_begins_late_finds_what_differs_after(unfinished: RunDirectory) -> None:
    """What comes before is taken as it is recorded, what comes after is not."""
    alter(unfinished, episode=3)
    done = replay(unfinished.path, start=2)
    assert [difference.episode for difference in done.differences] == [3]


def test_a_replay_cannot_begin_where_there_is_nothing(half: RunDirectory) -> None:
    with pytest.raises(TraceError, match="there is no episode 99"):
        replay(half.path, start=99)
    with pytest.raises(ConfigError, match="does not begin with"):
        replay(half.path, start=2, episode=3)
    with pytest.raises(ConfigError, match="comes before episode 3"):
        replay(half.path, start=3, until=(2, 0))
