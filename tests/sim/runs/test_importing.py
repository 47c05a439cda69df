"""`billp import-trajectories`: recordings of BiLLP's authors' code as runs of ours."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.messages import (
    ActionTaken,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    Message,
    PlanMade,
    UserResponded,
    check_numbers,
    number,
)
from sim.metrics.metrics import MetricsFollower
from sim.runs.importing import FORMAT, import_trajectories, items_of, told, trace_of
from sim.verification.verify import verify
from storage.authors.recordings import RecordedStep
from storage.authors.trajectories import End, RecordedEpisode, Recordings
from storage.catalog import Catalog
from storage.manifest import write_manifest
from storage.runs import RunDirectory
from storage.traces import digest_of, read_episode, read_trace
from tests.support.drawn import TEXTS
from tests.support.shell import Shell, tree
from tests.support.small import only
from tests.support.small import trace_of as messages_of

QUESTION = "The user's viewing history is ['Yellow'], please recommend item for this user"

QUITS = """
Thought 1: First a film.
Action 1: recommend[Red]
Observation 1: Episode continue, reward=4
Thought 2: Another one.
Action 2: recommend[Bleu]
Observation 2: [Bleu] can not be recommened, instead, recommend[Blue]
Observation 2: Episode continue, reward=4.5
Thought 3: The first again.
Action 3: recommend[Red]
Observation 3: Episode finished, User Stop, reward=-1000.000"""

STAYS = """
Thought 1: Hm.
Action 1: recommend[Blue]
Observation 1: Episode continue, reward=3
Thought 2: Hm.
Action 2: recommend[Green]
Observation 2: Episode continue, reward=5
Thought 3: Hm.
Action 3: recommend[Red]
Observation 3: Episode continue, reward=2"""

BREAKS = """
Thought 1: Green, then.
Action 1: recommend[Verte]
Observation 1: [Verte] can not be recommened, instead, recommend[Green]
Observation 1: Episode continue, reward=1.5
Thought 2: I am lost.
Action 2: Let me think.
Observation 2: Invalid Action. Valid Actions are recommend[item]."""

THREE = {
    str(place): {"userid": user, "prompt": "", "traj_by_line": (QUESTION + steps).split("\n")}
    for place, (user, steps) in enumerate(((70, QUITS), (80, STAYS), (70, BREAKS)))
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "three.json"
    path.write_text(json.dumps(THREE, indent=2))
    return path


@pytest.fixture(scope="module")
def imported(source: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    path = tmp_path_factory.mktemp("run") / "imported"
    import_trajectories(source, path)
    return RunDirectory(path)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_the_numbers_are_those_computed_by_hand(shell: Shell, source: Path, tmp_path: Path) -> None:
    """Seven recommendations in three episodes, six of them rewarded with 20 in all."""
    out = tmp_path / "out"
    found = json.loads(shell.fine("import-trajectories", source, "--out", out, "--json"))
    assert found == {
        "run": str(out),
        "digest": digest_of(out / "trace.jsonl"),
        "episodes": 3,
        "failed": 1,
        "len": 2.33333,
        "len_rewarded": 2.0,
        "r_traj": 6.66667,
        "r_each": 3.33333,
        "grounded": 2,
        "grounded_share": 0.285714,
        "repeats": 1,
        "repeats_share": 0.142857,
        "distinct_items": 3,
        "ended": {"limit": 1, "quit": 1, "unknown": 1},
        "unreadable": {"unreadable action": 1},
    }
    assert RunDirectory(out).read_summary() == found


def test_people_get_a_table(shell: Shell, source: Path, tmp_path: Path) -> None:
    """The same numbers, what they mean, and what to type next."""
    page = shell.fine("import-trajectories", source, "--out", tmp_path / "out")
    for text in ("2.33", "6.67", "3.333", "28.6%", "1 quit", "unreadable action", "billp show"):
        assert text in page


def test_an_episode_is_told_by_our_messages(imported: RunDirectory) -> None:
    """Request, plan, action, response; and no response where the user left."""
    names = [type(envelope.message).__name__ for envelope in read_episode(imported.trace, 0)]
    step = ["PlanRequested", "PlanMade", "ActionTaken", "UserResponded"]
    assert names == ["EpisodeStarted", *step, *step, *step[:3], "EpisodeEnded", "EpisodeSettled"]
    causes = [envelope.cause for envelope in read_episode(imported.trace, 0)]
    assert causes == [None, *range(12), 0]


def test_actions_tell_words_title_and_grounding(imported: RunDirectory) -> None:
    """Items are numbered by first appearance; how near a title is, is measured by our vectors."""
    actions = only(read_episode(imported.trace, 0), ActionTaken)
    assert [(a.item, a.title, a.words, a.grounding) for a in actions] == [
        (0, "Red", "Red", "exact"),
        (1, "Blue", "Bleu", "nearest"),
        (0, "Red", "Red", "exact"),
    ]
    assert [a.distance > 0 for a in actions] == [False, True, False]


def test_the_sign_for_left_is_no_number_of_ours(imported: RunDirectory) -> None:
    """Neither a reward, nor in a sum."""
    assert b"1000" not in imported.trace.read_bytes()
    ends = only(messages_of(imported), EpisodeEnded)
    assert [(e.length, e.reward, e.reason) for e in ends] == [(3, 8.5, "quit"), (3, 10.0, "limit")]


def test_an_episode_that_is_not_whole_has_failed(imported: RunDirectory) -> None:
    """What can be read of it is there, and why the rest is not."""
    episode = read_episode(imported.trace, 2)
    assert [m.thought for m in only(episode, PlanMade)] == ["Green, then."]
    assert [m.reward for m in only(episode, UserResponded)] == [1.5]
    why = "unreadable action at step 2 of the recording"
    assert only(episode, EpisodeFailed) == [EpisodeFailed(why=why)]


def test_a_user_who_comes_again_has_another_session(imported: RunDirectory) -> None:
    started = only(messages_of(imported), EpisodeStarted)
    assert [(s.user, s.session) for s in started] == [(70, 0), (80, 0), (70, 1)]


def test_the_same_file_gives_the_same_bytes(
    source: Path, imported: RunDirectory, tmp_path: Path
) -> None:
    """Wherever it lies and goes to."""
    other = tmp_path / "other.json"
    other.write_bytes(source.read_bytes())
    import_trajectories(other, tmp_path / "out")
    assert (tmp_path / "out" / "trace.jsonl").read_bytes() == imported.trace.read_bytes()


def test_an_imported_run_is_whole(shell: Shell, imported: RunDirectory) -> None:
    """It has no journal and no environment, and verify says so."""
    page = shell.fine("verify", imported.path)
    assert "is whole." in page
    assert page.count("the run was imported") == 2


def test_an_imported_run_can_be_damaged(shell: Shell, source: Path, tmp_path: Path) -> None:
    """What is left to verify is verified."""
    run = RunDirectory(tmp_path / "run")
    import_trajectories(source, run.path)
    run.trace.write_bytes(run.trace.read_bytes().replace(b'"reward":4.5', b'"reward":5.0'))
    said = shell.billp("verify", run.path)
    assert said.status == 1
    assert "tells the digest" in said.out


def test_an_imported_run_can_be_shown(shell: Shell, imported: RunDirectory) -> None:
    """Its episodes, and all that is known of a step."""
    page = shell.fine("show", imported.path, "0")
    assert "End: the user left after 3 steps, sum of rewards 8.5." in page
    assert "memory:" not in page
    assert "history:" not in page
    step = shell.fine("show", imported.path, "0:1")
    for text in ("Another one.", "Bleu", "Blue (item 1, nearest, ", "4.50"):
        assert text in step


def test_an_imported_trace_can_be_read(
    shell: Shell, imported: RunDirectory, tmp_path: Path
) -> None:
    """Line by line, counted, and as tables."""
    assert shell.fine("trace", "cat", imported.path).encode() == imported.trace.read_bytes()
    counts = json.loads(shell.fine("trace", "stats", imported.path, "--json"))["types"]
    assert (counts["ActionTaken"]["count"], counts["UserResponded"]["count"]) == (7, 6)
    shell.fine("trace", "export", imported.path, "--parquet", tmp_path / "tables")
    assert pl.read_parquet(tmp_path / "tables" / "ActionTaken.parquet").height == 7


def test_metrics_follow_an_imported_trace(imported: RunDirectory) -> None:
    """The rewards of the episodes that did not fail: 8.5 and 10 for five responses."""
    titles = ("Red", "Blue", "Green")
    follower = MetricsFollower(Catalog(titles, ((),) * 3, np.zeros(3, np.int64)))
    envelopes: Iterator[Envelope[Any]] = read_trace(imported.trace)
    for envelope in envelopes:
        follower(envelope)
    metrics = follower.result()
    assert (metrics.episodes, metrics.failed, metrics.r_traj) == (2, 1, 9.25)
    assert metrics.groundings == {"exact": 5, "nearest": 1}


@pytest.mark.parametrize(
    "command",
    [
        ["replay"],
        ["replay", "--episode", "0"],
        ["replay", "--prompt", "0:0:planner"],
        ["resume"],
        ["resume", "--retry-failed"],
        ["fork", "--at", "0:1", "--set", "quit.window=2"],
    ],
)
def test_an_imported_run_cannot_be_run_again(
    shell: Shell, imported: RunDirectory, command: list[str]
) -> None:
    """There is nothing to run it with, and nothing is written."""
    before = tree(imported.path)
    sentence, hint = shell.refusal(command[0], imported.path, *command[1:])
    assert sentence == (
        f"{imported.path}: was imported: it has no journal and no environment, "
        "so it cannot be run again"
    )
    assert "billp show" in hint
    assert tree(imported.path) == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, ": there is no such file"),
        ("", ": is empty"),
        ('{"0": ', ":1: not JSON, or cut short: "),
        ('{"0": 1}', ": holds no recorded trajectory"),
    ],
)
def test_a_file_that_is_none_leaves_nothing_behind(
    shell: Shell, tmp_path: Path, content: str | None, reason: str
) -> None:
    """One sentence, and no directory."""
    file, out = tmp_path / "file.json", tmp_path / "out"
    if content is not None:
        file.write_text(content)
    sentence, _ = shell.refusal("import-trajectories", file, "--out", out)
    assert sentence.startswith(f"{file}{reason}")
    assert not out.exists()


def test_a_directory_is_no_file(shell: Shell, tmp_path: Path) -> None:
    sentence, _ = shell.refusal("import-trajectories", tmp_path, "--out", tmp_path / "out")
    assert sentence == f"{tmp_path}: cannot be read: Is a directory"


def test_a_place_that_is_taken_stays_as_it_is(
    shell: Shell, source: Path, imported: RunDirectory, tmp_path: Path
) -> None:
    """Another run, or a file."""
    before = tree(imported.path)
    sentence, _ = shell.refusal("import-trajectories", source, "--out", imported.path)
    assert sentence == f"{imported.path}: the output directory holds another run"
    assert tree(imported.path) == before
    sentence, _ = shell.refusal("import-trajectories", source, "--out", source)
    assert sentence == f"{source}: the output directory is not empty"


titles = st.sampled_from(["Red", "Blue", "Green", "Rot", "Bleu"])
rewards = st.none() | st.floats(0, 5).map(number)
steps = st.builds(
    RecordedStep,
    thought=st.none() | TEXTS,
    words=titles,
    title=titles,
    reward=rewards,
    left=st.booleans(),
)
ends: st.SearchStrategy[End | None] = st.sampled_from(["quit", "limit", None])
episodes = st.builds(
    RecordedEpisode,
    user=st.integers(0, 3),
    steps=st.lists(steps, min_size=1, max_size=4).map(tuple),
    end=ends,
    fault=st.sampled_from(["", "episode without end"]),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(episodes, min_size=1, max_size=4))
def test_whatever_was_recorded_makes_a_valid_trace(
    tmp_path_factory: pytest.TempPathFactory, found: list[RecordedEpisode]
) -> None:
    """Every line in its place, every number as it must be, every episode as it was recorded."""
    run = RunDirectory(tmp_path_factory.mktemp("any"))
    recordings = Recordings(digest="0" * 64, episodes=tuple(found), unreadable={})
    run.trace.write_bytes(b"".join(trace_of(recordings)))
    run.write_config({"imported": {"sha256": recordings.digest, "format": FORMAT}})
    run.write_summary(told(recordings, run="", digest=digest_of(run.trace)))
    write_manifest(run)
    assert not [check for check in verify(run.path) if check.fault]
    for place, episode in enumerate(found):
        envelopes = read_episode(run.trace, place)
        for envelope in envelopes:
            check_numbers(envelope.message)
        actions = only(envelopes, ActionTaken)
        assert [(a.words, a.title) for a in actions] == [(s.words, s.title) for s in episode.steps]


@given(st.lists(episodes, min_size=1, max_size=4))
def test_the_numbers_agree_with_the_trace(found: list[RecordedEpisode]) -> None:
    """Counted over the messages, they are what the import says."""
    recordings = Recordings(digest="0" * 64, episodes=tuple(found), unreadable={})
    decode = msgspec.json.Decoder(Envelope[Message]).decode
    lines = b"".join(trace_of(recordings)).splitlines()
    messages = [decode(line).message for line in lines]
    actions = [m for m in messages if isinstance(m, ActionTaken)]
    rewards = [m.reward for m in messages if isinstance(m, UserResponded)]
    numbers = told(recordings, run="", digest="")
    assert numbers.len == number(len(actions) / len(found))
    assert numbers.len_rewarded == number(len(rewards) / len(found))
    assert numbers.r_traj == number(math.fsum(rewards) / len(found))
    assert numbers.grounded == sum(a.grounding == "nearest" for a in actions)
    assert numbers.distinct_items == len({a.item for a in actions}) == len(items_of(recordings))
