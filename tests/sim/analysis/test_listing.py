"""The runs below a folder, a card for each."""

from pathlib import Path
from shutil import copytree

import pytest

from engine.errors import RunDirectoryError, ServiceError
from engine.messages import EpisodeEnded
from sim.analysis.listing import MOST_BLOCKS, RunCard, in_families, list_runs, with_parents
from sim.metrics.summary import read_summary
from sim.runs.fork import fork
from storage.runs import RunDirectory
from tests.support.small import Counted, Failing, only, recorded, trace_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a run, a fork of it, one with tests and one with a failed episode."""
    place = tmp_path_factory.mktemp("listing")
    recorded(place / "plain")
    fork(
        place / "plain",
        (1, 0),
        settings=[],
        say={"planner": "Be bold."},
        out=place / "within" / "forked",
    )
    recorded(place / "within" / "tested", test_episodes=3, test_every=3)
    recorded(place / "failing", Failing())
    return place


def card(folder: Path, name: str) -> RunCard:
    return next(one for one in list_runs(folder) if one.name == name)


@pytest.mark.parametrize("name", ["plain", "within/tested", "failing"])
def test_a_card_agrees_with_the_summary(folder: Path, name: str) -> None:
    """Cheap as it is, it tells what the run told itself."""
    found, summary = card(folder, name), read_summary(RunDirectory(folder / name))
    metrics = summary.metrics
    assert found.status == "finished"
    assert (found.episodes, found.r_traj, found.len) == (
        metrics.episodes,
        metrics.r_traj,
        metrics.len,
    )
    assert (found.reasons, found.failed) == (metrics.quits, summary.failed_episodes)
    assert (found.tokens, found.digest, found.agent) == (
        summary.tokens,
        summary.digest,
        summary.agent,
    )


@pytest.mark.parametrize("name", ["plain", "within/tested", "failing"])
def test_the_trace_tells_what_the_summary_told(folder: Path, tmp_path: Path, name: str) -> None:
    """A run that lacks its summary is told by its trace: the same episodes and reasons."""
    copytree(folder / name, tmp_path / "copy")
    (tmp_path / "copy" / "summary.json").unlink()
    one, other = card(folder, name), card(tmp_path, "copy")
    assert other.status == "stopped"
    assert (one.episodes, one.failed, one.reasons) == (other.episodes, other.failed, other.reasons)
    assert (one.r_traj, one.low, one.high, one.len) == pytest.approx(
        (other.r_traj, other.low, other.high, other.len)
    )


def test_an_interval_surrounds_its_mean(folder: Path) -> None:
    """As far as there are episodes that differ."""
    found = card(folder, "plain")
    assert (found.low or 0.0) < (found.r_traj or 0.0) < (found.high or 0.0)


def test_the_series_is_that_of_all_episodes(folder: Path) -> None:
    """In their order; few episodes are told one by one."""
    ends = only(trace_of(RunDirectory(folder / "plain")), EpisodeEnded)
    assert len(ends) <= MOST_BLOCKS
    assert list(card(folder, "plain").series) == [end.reward for end in ends]


def test_a_fork_knows_its_parent(folder: Path) -> None:
    """By name, where that is among those listed."""
    assert card(folder, "within/forked").parent == "plain"
    assert list_runs(folder / "within")[0].parent == ""
    assert list_runs(folder / "within")[0].parent_digest == card(folder, "plain").digest


def test_a_run_that_was_stopped_says_so(tmp_path: Path) -> None:
    """With the episodes that are written."""
    with pytest.raises(ServiceError):
        recorded(tmp_path / "stopped", Counted(last=60))
    found = card(tmp_path, "stopped")
    assert (found.status, found.agent, found.tokens) == ("stopped", "billp", None)
    assert found.episodes


@pytest.mark.parametrize("file", ["summary.json", "trace.jsonl", "run.toml"])
def test_a_damaged_run_has_a_card(folder: Path, tmp_path: Path, file: str) -> None:
    """It says what is wrong, and the others are listed all the same."""
    copytree(folder / "plain", tmp_path / "damaged")
    copytree(folder / "plain", tmp_path / "whole")
    (tmp_path / "damaged" / "summary.json").write_bytes(b"{}")
    (tmp_path / "damaged" / file).write_bytes(b"\0" if file != "trace.jsonl" else b'{"a":1}\n')
    damaged, whole = list_runs(tmp_path)
    assert (damaged.status, whole.status) == ("damaged", "finished")
    assert damaged.trouble


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """An empty one has no runs."""
    with pytest.raises(RunDirectoryError, match="there is no such folder"):
        list_runs(tmp_path / "none")
    assert list_runs(tmp_path) == []


def test_runs_that_claim_to_be_each_others_forks_stand_there_once() -> None:
    """Whoever wrote their files may claim anything: none is left out for it, and nobody waits."""
    cards = [
        RunCard(name=name, path=name, status="finished", digest=name, parent_digest=parent)
        for name, parent in (("a", "b"), ("b", "a"), ("c", "c"), ("d", ""), ("e", "d"))
    ]
    families = in_families(with_parents(cards))
    assert sorted(card.name for _, card in families) == ["a", "b", "c", "d", "e"]
    assert (1, "e") in [(depth, card.name) for depth, card in families]
