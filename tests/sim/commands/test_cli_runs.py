"""`billp runs`: a line for each run of a folder."""

from pathlib import Path
from shutil import copytree

import msgspec
import pytest

from engine.errors import ServiceError
from sim.runs.fork import fork
from tests.support.shell import Shell
from tests.support.small import Counted, recorded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a run, a fork of it whose name comes first, and one that was stopped."""
    place = tmp_path_factory.mktemp("runs")
    recorded(place / "plain")
    fork(place / "plain", (1, 0), settings=[], say={"planner": "Be bold."}, out=place / "a-fork")
    with pytest.raises(ServiceError):
        recorded(place / "stopped", Counted(last=20), agent="react")
    return place


def test_forks_stand_under_their_parents(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever they are called."""
    lines = Shell(capsys, width=120).fine("runs", folder).splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("plain"))
    assert lines[place + 1].startswith("└ a-fork")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_table_keeps_to_its_width(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
) -> None:
    """No line is longer, no word is cut, and what was left out is named."""
    monkeypatch.chdir(folder)
    said = Shell(capsys, width=width).fine("runs", ".")
    assert all(len(line) <= width for line in said.splitlines())
    assert "stopped" in said
    assert ("Left out" in said) == ("when (UTC)" not in said.split("Left out")[0])


def test_what_is_the_same_in_all_runs_is_said_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Above the table."""
    said = Shell(capsys, width=120).fine("runs", folder)
    assert said.count("synthetic:plain") == 1


def test_runs_are_chosen_by_status_and_agent(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of those that are there."""
    shell = Shell(capsys)
    told = msgspec.json.decode(shell.fine("runs", folder, "--status", "stopped", "--json"))
    assert [run["name"] for run in told["runs"]] == ["stopped"]
    told = msgspec.json.decode(shell.fine("runs", folder, "--agent", "billp", "--json"))
    assert [run["name"] for run in told["runs"]] == ["a-fork", "plain"]


def test_a_wrong_choice_says_what_there_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An agent, a folder that is a run."""
    shell = Shell(capsys)
    assert "there are runs of billp, react" in shell.billp("runs", folder, "--agent", "bilp").err
    assert "billp show" in shell.billp("runs", folder / "plain").err
    assert f"billp runs {folder}" in shell.billp("show", folder).err
    assert "is not one of" in shell.billp("runs", "--status", "x").err
    assert "Value error" not in shell.billp("runs", "--status", "x").err
    assert "expected a whole number" in shell.billp("run", "--seed", "x").err


@pytest.mark.parametrize("words", [["-h"], ["runs", "-h"], ["env", "build", "-h"]])
def test_help_is_asked_for_by_a_letter(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """Of every command, also of those in groups."""
    assert "Usage: billp" in Shell(capsys).fine(*words)


def test_a_shell_completes_commands_and_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although commands are imported only when they are called."""
    monkeypatch.setenv("_BILLP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "billp runs --st")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert Shell(capsys).billp().out.split() == ["--status"]


def test_a_folder_is_compared_as_all_its_finished_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As an experiment's directory is; which others it holds is said."""
    for agent in ("random", "popular"):
        recorded(tmp_path / "mine" / agent, agent=agent)
    copytree(folder / "stopped", tmp_path / "mine" / "stopped")
    said = Shell(capsys).billp("compare", tmp_path / "mine", "--json")
    named = Shell(capsys).fine(
        *("compare", tmp_path / "mine" / "popular", tmp_path / "mine" / "random", "--json")
    )
    assert (said.status, said.out) == (0, named)
    assert "stopped" in said.err
