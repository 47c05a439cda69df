"""What is asked of a training, by the command and in files: without torch."""

import sys
from pathlib import Path

import msgspec
import pytest

from engine.errors import ConfigError, RunDirectoryError
from sim.training.place import Place, new_place
from sim.training.plan import ALGORITHMS, DEFAULTS, Training, recipe, training, world_of
from tests.sim.gym.played import OURS, SMALL
from tests.support.shell import Shell


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_has_settings_of_its_own(algorithm: str) -> None:
    """Over those that all have; who learns from a log has one."""
    plan = training(algorithm)
    assert plan.algorithm == algorithm
    assert msgspec.to_builtins(plan).items() >= DEFAULTS[algorithm].items()
    assert bool(plan.episodes) is (algorithm not in {"dqn", "a2c"})


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("ppo", {}, "there is no algorithm 'ppo'"),
        ("cql", {"episodes": 0}, "cql learns from a log, which needs episodes"),
        ("a2c", {"updates": 0}, "not a training: expected `int` >= 1 - at `$.updates`"),
        ("a2c", {"privileged": ["everything"]}, "not a training: invalid enum value"),
        ("a2c", {"speed": 3}, "not a training: object contains unknown field"),
    ],
)
def test_what_cannot_be_trained_is_refused(name: str, settings: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        training(name, settings)
    assert str(refused.value).startswith(said.replace("`", ""))


def test_a_recipe_is_what_seeds_have_in_common() -> None:
    """Neither the seed nor what leaves no mark, but all else, and the world."""
    config = world_of()
    names = {
        recipe(training("cql", settings), config, SMALL)
        for settings in ({}, {"seed": 3}, {"threads": 2}, {"checkpoint": 5})
    }
    others = {
        recipe(training("crr"), config, SMALL),
        recipe(training("cql", {"discount": 0.8}), config, SMALL),
        recipe(training("cql", {"privileged": ["pair"]}), config, SMALL),
        recipe(training("cql"), world_of({"quit_rule": "hazard"}), SMALL),
    }
    assert len(names) == 1
    assert len(others | names) == 5


def test_what_was_asked_for_is_read_again(tmp_path: Path) -> None:
    """All of it: the training, and the users of the world."""
    plan, config = training("bcq", {"seed": 7, "privileged": ["pair"]}), world_of(OURS)
    place = new_place(tmp_path / "place")
    place.write_settings(plan, config)
    assert place.read_settings() == (plan, config)


@pytest.mark.parametrize("content", [b"", b"[training]\n", b"\xff", b"training = 3\nworld = 4\n"])
def test_what_is_no_training_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "train.toml").write_bytes(content)
    with pytest.raises(RunDirectoryError, match=r"train\.toml: "):
        Place(tmp_path).read_settings()


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(RunDirectoryError, match="the output directory is not empty"):
        new_place(tmp_path)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the extra."""
    for name in [name for name in sys.modules if name.startswith("sim.training.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.usefixtures("_bare")
def test_without_the_extra_it_says_what_is_missing(shell: Shell, tmp_path: Path) -> None:
    """Before anything is written."""
    sentence, hint = shell.refusal("train", "a2c", "--out", tmp_path / "place")
    assert sentence.startswith("training needs the extra rl: ")
    assert hint == "pip install 'billp[rl]'"
    assert not (tmp_path / "place").exists()


def test_a_training_has_a_name(shell: Shell) -> None:
    sentence, hint = shell.refusal("train")
    assert (sentence, hint) == ("what is to be trained?", f"there are {', '.join(ALGORITHMS)}")


def test_who_goes_on_changes_nothing(shell: Shell, tmp_path: Path) -> None:
    """What is said again must be what it is."""
    place = new_place(tmp_path / "place")
    place.write_settings(training("cql", {"seed": 3}), world_of())
    sentence, _ = shell.refusal("train", "--resume", place.path, "--seed", "4")
    assert sentence == "seed is 3 in the training that is gone on with"
    sentence, _ = shell.refusal("train", "crr", "--resume", place.path)
    assert sentence == "algorithm is 'cql' in the training that is gone on with"
    sentence, _ = shell.refusal("train", "--resume", place.path, "--set", "limit=9")
    assert sentence == "limit is 50 in the training that is gone on with"
    sentence, _ = shell.refusal("train", "--resume", tmp_path / "nowhere")
    assert sentence.endswith("holds no training")


def test_what_is_done_is_not_gone_on_with(shell: Shell, tmp_path: Path) -> None:
    """It would begin anew, over what it came to."""
    place = new_place(tmp_path / "place")
    place.write_settings(training("cql"), world_of())
    place.result.touch()
    sentence, hint = shell.refusal("train", "--resume", place.path)
    assert sentence == f"{place.path}: this training is done"
    assert str(place.policy) in hint


def test_the_help_says_what_is_privileged(shell: Shell) -> None:
    """Nobody asks for it without having read that no agent could know it."""
    told = shell.fine("train", "--help")
    assert "What it is told that no agent could know: pair" in told
    assert all(f"{name}: " in told for name in ALGORITHMS)


def test_settings_of_a_training_are_typed() -> None:
    """As on a command line: numbers may be written as text."""
    assert training("a2c", {"rate": "0.01"}).rate == 0.01
    assert isinstance(training("a2c"), Training)
