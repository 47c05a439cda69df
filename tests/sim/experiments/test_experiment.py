"""Experiments: runs side by side that are planned, resumed, checked for leaks and compared."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.billp.memories import REFLECTIONS
from agents.embeddings import hashed
from engine.errors import ConfigError, LeakError
from engine.records import Record
from sim.analysis.compare import compare
from sim.analysis.leaks import check_leaks
from sim.config.layers import configured
from sim.experiments import experiment
from sim.experiments.experiment import PROTOCOLS, experiment_from, plan
from sim.runs.run import run
from storage.datasets import SYNTHETIC, open_environment
from storage.memory import Memory
from storage.runs import RunDirectory
from tests.support.dying import forked
from tests.support.shell import Shell, tree

TINY = ["--episodes", "4", "--test-episodes", "4", "--set", "limit=4", "--set", "prompts=false"]


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs be forked from a warm process; how they begin is shown by others."""
    monkeypatch.setattr(experiment, "_process", forked)


# -- planning


def test_every_agent_meets_every_seed() -> None:
    runs = plan(experiment_from({"agents": ["react", "billp"], "seeds": [1, 7]}))
    assert [(r.config.agent, r.config.seed) for r in runs] == [
        *(("react", 1), ("react", 7), ("billp", 1), ("billp", 7)),
    ]
    assert len({r.name for r in runs}) == 4


def test_ten_seeds_unless_they_are_named() -> None:
    """Fewer than five tell nothing of training."""
    assert [r.config.seed for r in plan(experiment_from({"agents": ["random"]}))] == [*range(1, 11)]


@pytest.mark.parametrize(("most", "expected"), [(5, (5, 1, 6, 7, 8)), (1_000, None)])
def test_seeds_are_added_after_the_last(most: int, expected: tuple[int, ...] | None) -> None:
    settings = {"seeds": [5, 1], "until": "decided", "most_seeds": most}
    found = experiment_from(settings).every_seed
    assert found == expected if expected else len(found) == most


def test_sweeps_make_every_combination() -> None:
    """Memory size against quality, say."""
    sweep = {"actor.recall_count": [1, 5], "memory_size": [10, 100, 0]}
    runs = plan(experiment_from({"agents": ["billp"], "seeds": [1], "sweep": sweep}))
    found = [(r.config.agent_settings.actor.recall_count, r.config.memory_size) for r in runs]
    assert found == [(1, 10), (1, 100), (1, 0), (5, 10), (5, 100), (5, 0)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_yields_to_settings(protocol: Any) -> None:
    (run,) = plan(
        experiment_from(
            {
                "agents": ["random"],
                "seeds": [1],
                "protocol": protocol,
                "settings": {"test_episodes": 7},
            }
        )
    )
    assert run.config.test_episodes == 7
    assert run.config.repeats == ("allow" if protocol == "paper" else "forbid")
    assert run.config.test_memory == ("learning" if protocol == "paper" else "frozen")
    assert run.config.quit_rule == ("billp" if protocol == "paper" else "quantile")
    assert any(run.config.rewards.satiation) is (protocol != "paper")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"agents": ["bilp"]}, "there is no agent 'bilp'"),
        ({"agents": []}, "needs agents"),
        ({"seeds": [1, 1]}, "seeds name something twice"),
        ({"seeds": ["a"]}, "seeds: expected int, got"),
        ({"protocol": "free"}, "protocol: expected one of frozen, paper, curve, got 'free'"),
        ({"episodes": 3}, "there is no setting 'episodes' of experiments"),
        ({"settings": {"episode": 3}}, "there is no setting 'episode'"),
        ({"settings": {"test_episodes": 0}}, "without test users"),
        ({"settings": {"users": "all"}}, "must not be trained on"),
        ({"sweep": {"memory_size": []}}, "'memory_size' has no values"),
        ({"until": "decided", "agents": ["random"]}, "nothing to decide: there is one agent"),
        ({"until": "decided", "effect": -1.0}, "an effect is a number above 0, got -1.0"),
        ({"until": "decided", "most_seeds": 4}, "fewer than 5 seeds decide nothing, got 4"),
        ({"effect": 1.0}, "an effect is for experiments until decided"),
        ({"settings": {"seed": 9}}, "seeds of its own, got 'seed' in its settings"),
        ({"settings": {"agent": "react"}}, "agents of its own, got 'agent' in its settings"),
        ({"sweep": {"seed": [9]}}, "seeds of its own, got 'seed' in its sweep"),
        ({"sweep": {"agent": ["react"]}}, "agents of its own, got 'agent' in its sweep"),
    ],
)
def test_what_cannot_be_run_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        plan(experiment_from(settings))


# -- running


def test_what_lies_in_the_current_directory_is_not_taken_for_ours(shell: Shell) -> None:
    """Runs are processes of their own, which Python would let begin by looking there."""
    Path("sim.py").write_text("raise SystemExit('another one')")
    shell.fine("experiment", "--agents", "random", "--seeds", "1", *TINY, "--out", "ours")


@pytest.mark.usefixtures("warm")
def test_an_experiment_runs_and_goes_on(shell: Shell, tmp_path: Path) -> None:
    """What is there is left as it is, what was stopped is finished, and nothing is run twice."""
    words = ["experiment", "--agents", "billp,random", "--seeds", "1,2", *TINY, "--out", "e"]
    report = json.loads(shell.fine(*words, "--json"))
    assert [group["label"] for group in report["comparison"]["groups"]] == ["billp", "random"]
    assert [group["visits"] for group in report["comparison"]["groups"]] == [8, 8]
    assert report["checked"] > 0
    stopped = RunDirectory(tmp_path / "e" / "billp-seed=2")
    digest = stopped.read_summary()["digest"]
    stopped.summary.unlink()
    stopped.trace.write_bytes(stopped.trace.read_bytes()[:-300])
    before = tree(tmp_path / "e" / "random-seed=1")
    again = shell.billp(*words)
    assert again.status == 0, again
    assert "billp-seed=2: resumed" in again.err
    assert "random-seed=1: there" in again.err
    assert "billp − random" in again.out
    assert stopped.read_summary()["digest"] == digest
    assert tree(tmp_path / "e" / "random-seed=1") == before


@pytest.mark.usefixtures("warm")
def test_a_file_says_what_to_run(shell: Shell, tmp_path: Path) -> None:
    """Options go before the file."""
    (tmp_path / "e.toml").write_text(
        'agents = ["random", "popular"]\nseeds = [3]\nprotocol = "curve"\n'
        "[settings]\nepisodes = 4\ntest_episodes = 2\ntest_every = 2\nlimit = 3\n"
    )
    report = json.loads(shell.fine("experiment", "e.toml", "--seeds", "4", "--out", "e", "--json"))
    assert [run.rpartition("/")[2] for run in report["runs"]] == ["random-seed=4", "popular-seed=4"]
    (curve, _) = report["curves"]
    assert [point["trained"] for point in curve["points"]] == [0, 2, 4]
    assert "Learning curve of random" in shell.fine(
        "experiment", "e.toml", "--seeds", "4", "--out", "e"
    )


@pytest.mark.usefixtures("warm")
def test_seeds_are_added_until_it_is_decided(shell: Shell) -> None:
    """One by one, which is five at least; the same again finds all of it there."""
    words = ["experiment", "--agents", "diverse-greedy,random", "--until", "decided", *TINY]
    report = json.loads(shell.fine(*words, "--seeds", "3", "--out", "e", "--json"))
    (decision,) = report["decisions"]
    assert (decision["verdict"], decision["low"] > 0) == ("more", True)
    (seeds,) = {tuple(group["seeds"]) for group in report["comparison"]["groups"]}
    assert seeds == tuple(range(3, 3 + decision["seeds"]))
    assert 5 <= decision["seeds"] < 30
    again = shell.billp(*words, "--seeds", "3", "--out", "e")
    assert again.err.count(": there") == 2 * decision["seeds"]
    assert "when all was decided, by confidence sequences" in again.out
    assert "the first gets more" in again.out


@pytest.mark.usefixtures("warm")
def test_an_experiment_says_that_nothing_was_decided(shell: Shell) -> None:
    """An agent that is told the same twice differs nowhere."""
    Path("e.toml").write_text('agents = ["random"]\n[sweep]\nmemory_size = [10, 20]\n')
    words = ["experiment", "e.toml", "--until", "decided", *TINY]
    said = shell.fine(*words, "--most-seeds", "5", "--out", "e")
    assert "seeds were added up to 5, as many as were allowed" in said
    assert "undecided" in said
    assert len([*Path("e").glob("random-*")]) == 10


@pytest.mark.usefixtures("warm")
def test_another_experiment_in_its_place_is_refused(shell: Shell) -> None:
    words = ["experiment", "--agents", "random", "--seeds", "1", *TINY, "--out", "e", "--json"]
    shell.fine(*words)
    sentence, hint = shell.refusal(*words, "--set", "limit=3")
    assert "holds a run of other settings" in sentence
    assert hint == "choose another --out"


def test_agents_and_seeds_have_options_of_their_own(shell: Shell) -> None:
    sentence, hint = shell.refusal("experiment", "--set", "seed=9", "--out", "e")
    assert "'seed'" in sentence
    assert hint == "--seeds, or seeds at the head of the file"


def test_help_names_the_tables_of_a_file(shell: Shell) -> None:
    """Brackets and all."""
    said = shell.fine("experiment", "--help")
    assert "[settings]" in said
    assert "[sweep]" in said
    assert "\\" not in said


def test_a_run_that_fails_says_why(shell: Shell) -> None:
    """In its own words, though it is another process."""
    sentence, _ = shell.refusal(
        *("experiment", "--agents", "billp", "--seeds", "1", *TINY, "--out", "e", "--json"),
        *("--set", "model=openai/x", "--set", "key_file=nowhere"),
    )
    assert "nowhere" in sentence


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    out = tmp_path_factory.mktemp("finished") / "run"
    settings = {"episodes": 6, "test_episodes": 4, "limit": 5, "arrivals": "batches:3"}
    run(configured(settings), out=out)
    return RunDirectory(out)


def test_means_are_those_of_the_run(finished: RunDirectory) -> None:
    """Of a test of users who come once: Len × R_each is R_traj here and there."""
    (group,) = compare([finished.path]).groups
    means = {name: mean.mean for name, mean in group.means.items()}
    summary = finished.read_summary()
    assert means == pytest.approx({name: summary[name] for name in means}, rel=1e-5)
    assert means["len"] * means["r_each"] == pytest.approx(means["r_traj"], rel=1e-5)


# -- leaks


@pytest.mark.parametrize("agent", ["linucb", "best-sequence", "reflexion", "random"])
def test_an_honest_run_has_no_leak(agent: str, tmp_path: Path) -> None:
    """Whatever it remembers."""
    settings = {"agent": agent, "episodes": 4, "test_episodes": 3, "limit": 4}
    run(configured(settings), out=tmp_path / "run")
    looked_at = check_leaks(RunDirectory(tmp_path / "run"), open_environment(SYNTHETIC))
    assert (looked_at > 0) is (agent != "random")


def test_a_learning_test_is_no_leak(tmp_path: Path) -> None:
    """It says that its test users teach."""
    settings = {"episodes": 4, "test_episodes": 3, "limit": 4, "test_memory": "learning"}
    run(configured(settings), out=tmp_path / "run")
    assert check_leaks(RunDirectory(tmp_path / "run"), open_environment(SYNTHETIC)) > 0


def test_records_of_test_users_are_found(finished: RunDirectory, tmp_path: Path) -> None:
    """As if a frozen memory had been written in the test."""
    spoilt = copied(finished, tmp_path)
    text = spoilt.trace.read_bytes().replace(b'"phase":"test"', b'"phase":"train"', 1)
    spoilt.trace.write_bytes(text)
    with pytest.raises(LeakError, match="is one of training, and its user a test user"):
        check_leaks(spoilt, open_environment(SYNTHETIC))


def test_keys_of_what_was_never_shown_are_found(finished: RunDirectory, tmp_path: Path) -> None:
    """As if unseen positives had been part of a key."""
    spoilt = copied(finished, tmp_path)
    memory = Memory.load(spoilt.memory, REFLECTIONS)
    other = Memory(REFLECTIONS)
    for position, record in enumerate(memory.records()):
        key = hashed(("An Item Nobody Was Shown",)) if position == 2 else record.key
        other.append(Record(record.episode, np.array(key), record.payload))
    other.save(spoilt.memory)
    with pytest.raises(LeakError, match="record 2 of memory 'planner' lies under a key"):
        check_leaks(spoilt, open_environment(SYNTHETIC))


def test_histories_of_others_are_found(finished: RunDirectory, tmp_path: Path) -> None:
    spoilt = copied(finished, tmp_path)
    lines = spoilt.trace.read_bytes().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if b'"type":"EpisodeStarted"' in line)
    line = json.loads(lines[place])
    known = {
        item for item, _ in open_environment(SYNTHETIC).history(line["message"]["user"], 1_000)
    }
    line["message"]["history"][0][0] = next(i for i in range(2_000) if i not in known)
    lines[place] = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    spoilt.trace.write_bytes(b"".join(lines))
    with pytest.raises(LeakError, match="did not have before"):
        check_leaks(spoilt, open_environment(SYNTHETIC))


def copied(finished: RunDirectory, place: Path) -> RunDirectory:
    return RunDirectory(shutil.copytree(finished.path, place / "spoilt"))
