"""`billp show RUN`: a line for each visit."""

from math import fsum
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.messages import EpisodeEnded, EpisodeFailed, EpisodeStarted, UserResponded
from sim.runs.importing import import_trajectories
from storage.runs import RunDirectory
from storage.traces import read_episode
from tests.support.shell import Shell
from tests.support.small import Failing, only, recorded, trace_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Give a run whose episode 1 failed, with visits of all users twice."""
    path = tmp_path_factory.mktemp("visits") / "finished"
    return recorded(path, Failing(), sessions=2, arrivals="all")


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys, width=80)


def listed(shell: Shell, run: RunDirectory, *words: str) -> list[dict[str, Any]]:
    told = msgspec.json.decode(shell.fine("show", run.path, *words, "--json"))
    found: list[dict[str, Any]] = told["visits"]
    return found


def test_every_episode_has_a_line(shell: Shell, finished: RunDirectory) -> None:
    """By number: whose it is, how long it was, what it came to, and why it ended."""
    trace = trace_of(finished)
    rows = listed(shell, finished)
    started = only(trace, EpisodeStarted)
    assert [row["episode"] for row in rows] == [*range(len(started))]
    assert [(row["user"], row["session"]) for row in rows] == [
        (one.user, one.session) for one in started
    ]
    ends = {e.episode: e.message for e in trace if isinstance(e.message, EpisodeEnded)}
    for row in rows:
        end = ends[row["episode"]]
        assert (row["length"], row["reward"]) == (end.length, end.reward)
        assert (row["reason"] == "limit") == (end.reason == "limit")


def test_what_failed_says_why(shell: Shell, finished: RunDirectory) -> None:
    """And which steps its user answered."""
    (row,) = (one for one in listed(shell, finished) if one["state"] == "failed")
    messages = [one.message for one in read_episode(finished.trace, row["episode"])]
    assert any(isinstance(message, EpisodeFailed) for message in messages)
    rewards = [message.reward for message in messages if isinstance(message, UserResponded)]
    assert (row["length"], row["reward"]) == (len(rewards), pytest.approx(fsum(rewards)))
    assert row["failure"] == "a call of the reflector's (server)"
    assert "1 failed" in shell.fine("show", finished.path)


def test_lines_fit_a_terminal(shell: Shell, finished: RunDirectory) -> None:
    """And no word is broken."""
    page = shell.fine("show", finished.path)
    assert all(len(line) <= 80 for line in page.splitlines() if str(finished.path) not in line)
    assert "of the reflector's (server)" in " ".join(page.split())


def test_visits_of_a_user(shell: Shell, finished: RunDirectory) -> None:
    user = listed(shell, finished)[0]["user"]
    rows = listed(shell, finished, "--user", str(user))
    assert [row["session"] for row in rows] == [0, 1]
    assert {row["user"] for row in rows} == {user}
    assert "No visit to show." in shell.fine("show", finished.path, "--user", "999999")


@pytest.mark.parametrize(("option", "falls"), [("--worst", False), ("--best", True)])
def test_the_worst_and_the_best(
    shell: Shell, finished: RunDirectory, option: str, falls: bool
) -> None:
    """By the sum of rewards; what failed came to none."""
    every = [one["reward"] for one in listed(shell, finished) if one["state"] == "finished"]
    rows = listed(shell, finished, option, "3")
    assert [row["reward"] for row in rows] == sorted(every, reverse=falls)[:3]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--worst", "1", "--best", "1"], "choose one of --worst and --best"),
        (["0", "--user", "1"], "--user, --worst and --best choose among all visits"),
        (["--replayed"], "--prompt and --replayed need an episode"),
        (["--prompt", "actor"], "--prompt and --replayed need an episode"),
    ],
)
def test_what_does_not_go_together(
    shell: Shell, finished: RunDirectory, words: list[str], sentence: str
) -> None:
    assert shell.refusal("show", finished.path, *words)[0] == sentence


def test_an_imported_run_is_listed(shell: Shell, tmp_path: Path) -> None:
    """It has neither journal nor plan, and needs none."""
    file = tmp_path / "recordings.json"
    file.write_text('{"1": {"traj_by_line": ["Thought 1: Hm.", "Action 1: recommend[Red]"]}}')
    import_trajectories(file, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    assert len(listed(shell, run)) == len(only(trace_of(run), EpisodeStarted)) == 1


def test_a_directory_without_a_run(shell: Shell, tmp_path: Path) -> None:
    assert shell.refusal("show", tmp_path)[0] == f"{tmp_path}: not a run directory"


def test_a_run_of_another_version(shell: Shell, finished: RunDirectory, tmp_path: Path) -> None:
    """Named as that, not as damage."""
    other = RunDirectory(tmp_path)
    other.config.write_bytes(finished.config.read_bytes())
    trace = finished.trace.read_bytes().replace(b'"schema":1', b'"schema":99', 1)
    other.trace.write_bytes(trace)
    sentence, hint = shell.refusal("show", tmp_path)
    assert "the trace has schema 99, newer than 1" in sentence
    assert "the version of billp that wrote it" in hint


def test_settings_that_are_not_known_leave_a_list(
    shell: Shell, finished: RunDirectory, tmp_path: Path
) -> None:
    """Who comes next is not known then, and that is said of the rest."""
    other = RunDirectory(tmp_path)
    other.config.write_bytes(finished.config.read_bytes() + b"[unheard_of]\n")
    other.journal.write_bytes(finished.journal.read_bytes())
    page = shell.fine("show", tmp_path)
    assert "unheard_of" in page
    assert "state stopped" in page


def test_a_list_begins_with_what_the_run_was(shell: Shell, finished: RunDirectory) -> None:
    """Who recommended what to whom, what came of it, and where it went best and worst."""
    page = shell.fine("show", finished.path)
    rows = listed(shell, finished, "--worst", "3")
    assert "Agent billp, model embedded in synthetic:plain, seed 0." in page
    worst = ", ".join(f"{row['episode']} ({row['reward']:.2f})" for row in rows)
    assert f"Worst episodes: {worst}." in page
    told = msgspec.json.decode(shell.fine("show", finished.path, "--json"))["overview"]
    assert f"R_traj {told['r_traj']:.2f} ±" in page
