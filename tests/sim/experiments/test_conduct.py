"""Experiments from Python: what the command does, in a function and for those in an event loop."""

import asyncio
import subprocess
from inspect import signature
from pathlib import Path

import anyio
import msgspec
import pytest

import sim
from engine.errors import ConfigError
from sim import Experiment
from sim.experiments import experiment
from sim.experiments.conduct import Report
from sim.experiments.experiment import Planned
from tests.support.dying import forked
from tests.support.shell import Shell, tree

TINY = Experiment(
    agents=("random", "popular"),
    seeds=(1,),
    settings={"episodes": 4, "test_episodes": 4, "limit": 4, "prompts": False},
)
SAME = ("--agents", "random,popular", "--seeds", "1", "--episodes", "4", "--test-episodes", "4")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A report, of runs that are forked from a warm process, and where it is."""
    out = tmp_path_factory.mktemp("experiment") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "_process", forked)
        return out, sim.experiment(TINY, out=out)


def test_a_report_is_what_was_run_and_how_it_compares(done: tuple[Path, Report]) -> None:
    """And stands in the experiment's directory."""
    out, report = done
    assert [Path(run).name for run in report.runs] == ["random-seed=1", "popular-seed=1"]
    assert [group.label for group in report.comparison.groups] == ["random", "popular"]
    assert msgspec.json.decode((out / "report.json").read_bytes(), type=Report) == report
    assert report.comparison._repr_html_() == report._repr_html_()


def test_the_command_finds_all_of_it_done(
    done: tuple[Path, Report], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same runs: it goes on with them, and comes to the same."""
    out, report = done
    traces = {name: text for name, text in tree(out).items() if name.endswith(".jsonl")}
    settings = ("--set", "limit=4", "--set", "prompts=false", "--out", out, "--json")
    told = Shell(capsys).fine("experiment", *SAME, *settings)
    assert msgspec.json.decode(told, type=Report) == report
    assert {name: text for name, text in tree(out).items() if name in traces} == traces


def test_twins_take_the_same() -> None:
    one, other = (signature(twin).parameters for twin in (sim.experiment, sim.experiment_async))
    assert dict(one) == dict(other)


def test_where_a_loop_runs_the_twin_is_awaited(done: tuple[Path, Report]) -> None:
    """The other one says so, before anything is written."""
    out, report = done

    async def cell() -> None:
        with pytest.raises(ConfigError, match="an event loop runs here already") as caught:
            sim.experiment(TINY, out=out.parent / "new")
        assert "await experiment_async(…)" in caught.value.hint
        assert await sim.experiment_async(TINY, out=out) == report

    asyncio.run(cell())
    assert not (out.parent / "new").exists()


def test_who_cancels_an_experiment_ends_its_processes(tmp_path: Path) -> None:
    """They are gone when it is; the same again goes on where they were."""
    began = asyncio.Event()

    def told(run: Planned, state: str) -> None:
        if state == "began":
            began.set()

    async def cell() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: sim.experiment_async(TINY, out=tmp_path, told=told))
            await began.wait()
            group.cancel_scope.cancel()

    asyncio.run(cell())
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(tmp_path) not in listed.stdout  # which all of them are told
    assert len(sim.experiment(TINY, out=tmp_path).runs) == 2


def test_what_cannot_be_run_is_said_before_anything_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no agent 'bilp'"):
        sim.experiment(Experiment(agents=("bilp",)), out=tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
