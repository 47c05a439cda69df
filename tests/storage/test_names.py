"""Names of files that no file can tell of: refused before anything is done."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import sim
from agents.models.embedded import EmbeddedModel
from engine.errors import ConfigError
from sim.experiments.experiment import experiment_from, plan, prepare
from sim.runs.importing import import_trajectories
from storage.datasets import generate_environment, save
from storage.names import check_name
from storage.replies import ReplyCache
from tests.support.shell import Shell, tree
from tests.support.small import recorded, synthetic

TORN = "caf\udce9"  # as the system tells of bytes that are not UTF-8

COMMANDS = {
    "run": ["run", "--out", TORN],
    "run below": ["run", "--out", f"{TORN}/run"],
    "run with a cache": ["run", "--cache", TORN],
    "run with a setting": ["run", "--set", f"cache={TORN}"],
    "fork": ["fork", "run", "--at", "1:1", "--out", TORN],
    "say": ["fork", "run", "--at", "1:1", "--say", f"planner={TORN}"],
    "experiment": ["experiment", "--out", TORN],
    "env build": ["env", "build", "synthetic", "--out", TORN],
    "env build of a source": ["env", "build", "csv", TORN, "--out", "world"],
    "env build of a name": ["env", "build", "synthetic", "--out", "world", "--name", TORN],
    "import": ["import-trajectories", "file.json", "--out", TORN],
    "map": ["memory", "run", "--map", f"{TORN}.csv"],
    "plot": ["critic", "run", "--plot", f"{TORN}.png"],
    "export": ["trace", "export", "run", "--parquet", TORN],
    "show": ["show", TORN, "0"],
    "agent": ["run", "--agent", TORN],
    "listener": ["run", "--listener", f"{TORN}:Class"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_takes_what_is_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """One sentence with the name, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    sentence, hint = Shell(capsys).refusal(*COMMANDS[name])
    assert sentence.endswith("is not UTF-8")
    assert "\\udce9" in sentence
    assert hint == "choose another name"
    assert tree(tmp_path) == {}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("parent") / "run").path


CALLS: dict[str, Callable[[Path, Path], object]] = {
    "run": lambda out, _: sim.run(out=out, environment=synthetic(), model=EmbeddedModel()),
    "fork": lambda out, parent: sim.fork(parent, (1, 1), out=out),
    "run_async": lambda out, _: asyncio.run(sim.run_async(out=out, environment=synthetic())),
    "import": lambda out, _: import_trajectories("file.json", out),
    "experiment": lambda out, _: prepare(plan(experiment_from()), out),
    "save": lambda out, _: save(generate_environment(0, name="world"), out),
    "cache": lambda out, _: ReplyCache(out),
}


@pytest.mark.parametrize("torn", [TORN, "a\0b"], ids=["not UTF-8", "NUL"])
@pytest.mark.parametrize("name", CALLS)
def test_no_function_takes_it_either(tmp_path: Path, parent: Path, name: str, torn: str) -> None:
    with pytest.raises(ConfigError, match=r"is not UTF-8|is no name of a file"):
        CALLS[name](tmp_path / torn, parent)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("name", ["run", "/a/b", "Amélie 日本語 👩", "a b\n$x", "."])
def test_all_other_names_are_taken(name: str) -> None:
    check_name(name)
    check_name(Path(name))
