"""Policies from files in runs: what the trace says of them, and what becomes of them elsewhere."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import ConfigError, LeakError
from engine.messages import RunStarted
from sim import Run
from sim.analysis.compare import compare
from sim.analysis.leaks import check_leaks
from sim.config.layers import configured
from sim.config.run import RunConfig
from sim.runs.fork import fork
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.runs.run import run
from storage.runs import RunDirectory
from tests.sim.gym.played import SMALL
from tests.support.policies import policy
from tests.support.shell import Shell
from tests.support.small import lines_of, only, recorded, synthetic, trace_of

TESTED: dict[str, Any] = {"episodes": 2, "test_episodes": 3, "limit": 4, "arrivals": "all"}


def digest(directory: RunDirectory) -> str:
    return str(directory.read_summary()["digest"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return policy(tmp_path / "policy")


def test_where_a_policy_is_leaves_no_mark(path: Path, tmp_path: Path) -> None:
    """The same policy elsewhere: the same trace, in which no path is."""
    moved = shutil.copy(path, tmp_path / "moved")
    first = recorded(tmp_path / "first", agent=f"rl:{path}")
    second = recorded(tmp_path / "second", agent=f"rl:{moved}")
    assert digest(first) == digest(second)
    assert str(tmp_path).encode() not in first.trace.read_bytes()


def test_another_policy_is_another_run(path: Path, tmp_path: Path) -> None:
    """Its head says how it was learned, what it is told, and its digest."""
    other = policy(tmp_path / "other", name="other", told=True, algorithm="dqn", recipe="r")
    first = recorded(tmp_path / "first", agent=f"rl:{path}")
    second = recorded(tmp_path / "second", agent=f"rl:{other}")
    assert digest(first) != digest(second)
    (head,) = only(trace_of(second), RunStarted)
    settings = dict(head.settings)
    assert head.agent == "rl"
    assert (settings["rl.algorithm"], settings["rl.recipe"]) == ("dqn", "r")
    assert settings["rl.privileged"] == "pair"


def test_python_names_a_policy_as_the_command_line_does(path: Path, tmp_path: Path) -> None:
    """In a configuration, or in place of the one that a configuration has."""
    small: dict[str, Any] = {"episodes": 3, "limit": 3}
    first = run(RunConfig(agent=f"rl:{path}", **small), out=tmp_path / "first")
    second = run(configured(small), agent=f"rl:{path}", out=tmp_path / "second")
    third = run(configured(small, {"agent": f"rl:{path}"}), out=tmp_path / "third")
    assert first.agent == "rl"
    assert first.digest == second.digest == third.digest


def test_a_missing_policy_is_a_sentence(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is written."""
    shell = Shell(capsys)
    sentence, hint = shell.refusal("run", "--agent", "rl:nowhere", "--out", tmp_path / "run")
    assert sentence == "nowhere: there is no such policy"
    assert hint == "billp train writes policies"
    sentence, hint = shell.refusal("run", "--agent", "rl", "--out", tmp_path / "run")
    assert "none is named" in sentence
    assert "--agent rl:PATH" in hint
    assert not (tmp_path / "run").exists()


def test_a_run_is_replayed_by_its_own_policy_alone(path: Path, tmp_path: Path) -> None:
    """Neither without it nor by another."""
    directory = recorded(tmp_path / "run", agent=f"rl:{path}")
    assert replay(directory.path, environment=synthetic()).agrees
    policy(path, name="other")
    with pytest.raises(ConfigError, match="expected the policy"):
        replay(directory.path, environment=synthetic())
    path.unlink()
    with pytest.raises(ConfigError, match="there is no such policy"):
        replay(directory.path, environment=synthetic())


def test_a_run_goes_on_with_a_policy_that_was_moved(path: Path, tmp_path: Path) -> None:
    """Where it is now may be said; another one is refused."""
    directory = recorded(tmp_path / "run", agent=f"rl:{path}")
    whole = digest(directory)
    directory.trace.write_bytes(b"".join(lines_of(directory)[:-20]))
    directory.summary.unlink()
    moved = path.rename(tmp_path / "moved")
    settings = [{"rl": {"policy": str(moved)}}]
    summary = resume(directory.path, settings=settings, environment=synthetic())
    assert summary is not None
    assert summary.digest == whole


def test_a_fork_goes_on_with_another_policy(path: Path, tmp_path: Path) -> None:
    """What decides a run may change in a fork."""
    other = policy(tmp_path / "other", name="other")
    directory = recorded(tmp_path / "run", agent=f"rl:{path}")
    changed = [{"agent": f"rl:{other}"}]
    forked = fork(
        directory.path, at=(3, 0), settings=changed, out=tmp_path / "fork", environment=synthetic()
    )
    assert forked.digest != digest(directory)


def test_a_policy_of_another_catalog_is_refused(path: Path, tmp_path: Path) -> None:
    from_elsewhere = tmp_path / "world"
    with pytest.raises(ConfigError, match="is of a catalog of 2,000 items, here are 200"):
        recorded(from_elsewhere, environment=SMALL, agent=f"rl:{path}")


def test_policies_of_one_recipe_are_one_agent(tmp_path: Path) -> None:
    """One for each seed of a run; two of one seed are told apart by their digests."""
    for seed in (1, 2):
        policy(tmp_path / f"policy-{seed}", name=f"{seed}", seed=seed)
    template = f"rl:{tmp_path}/policy-{{seed}}"
    runs = [recorded(tmp_path / f"run{n}", agent=template, seed=n, **TESTED) for n in (1, 2)]
    other = recorded(tmp_path / "other", agent="random", seed=1, **TESTED)
    twin = recorded(tmp_path / "twin", agent=f"rl:{tmp_path}/policy-2", seed=1, **TESTED)
    (group,) = compare([one.path for one in runs]).groups
    assert (group.label, group.seeds) == ("rl", (1, 2))
    labels = [one.label for one in compare([runs[0].path, other.path]).groups]
    assert labels == ["rl rl.algorithm=none rl.recipe=recipe", "random"]
    labels = [one.label for one in compare([runs[0].path, twin.path]).groups]
    assert len({*labels}) == 2


def test_a_privileged_policy_says_so_in_every_table(tmp_path: Path) -> None:
    """Of a run, and of a comparison, also beside nothing but its like."""
    told = policy(tmp_path / "policy", told=True)
    directory = recorded(tmp_path / "run", agent=f"rl:{told}", **TESTED)
    assert directory.read_summary()["privileged"] == "pair"
    assert "rl told pair, which no agent could know," in Run.open(directory.path).summary.title
    (group,) = compare([directory.path]).groups
    assert group.label == "rl rl.privileged=pair"


def test_a_policy_from_here_is_no_leak(path: Path, tmp_path: Path) -> None:
    directory = recorded(tmp_path / "run", agent=f"rl:{path}", **TESTED)
    assert check_leaks(directory, synthetic()) == 0


def test_a_policy_that_was_trained_elsewhere_may_be_a_leak(tmp_path: Path) -> None:
    """Where other users were drawn to be tested, it may have learned from ours."""
    elsewhere = policy(tmp_path / "policy", trained_in="f" * 64)
    directory = recorded(tmp_path / "run", agent=f"rl:{elsewhere}", **TESTED)
    with pytest.raises(LeakError, match="trained in another environment, 'ffffffffffff'"):
        check_leaks(directory, synthetic())


@pytest.mark.slow
def test_an_experiment_takes_a_policy_for_each_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`{seed}` in the path is the run's; others may be beside it."""
    for seed in (1, 2):
        policy(tmp_path / f"policy-{seed}", name=f"{seed}", seed=seed)
    agents = f"rl:{tmp_path}/policy-{{seed}},random"
    world = ("--env", "synthetic:plain", "--set", "limit=4")
    how = (*world, "--seeds", "1,2", "--episodes", "2", "--test-episodes", "3")
    place = ("--out", tmp_path / "experiment", "--json")
    told = Shell(capsys).fine("experiment", "--agents", agents, *how, *place)
    found = msgspec.json.decode(told)
    labels = [group["label"] for group in found["comparison"]["groups"]]
    assert labels == ["rl rl.algorithm=none rl.recipe=recipe", "random"]
