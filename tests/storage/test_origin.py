"""The proof that a run was made here: who has it, who has not, and what it tells."""

import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from storage import files
from storage.disk import OperatingSystem
from storage.origin import NAME, prove, proven, unprovable
from storage.runs import RunDirectory
from tests.support.dying import together


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's directory of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "billp"


def run_in(path: Path) -> RunDirectory:
    path.mkdir()
    run = RunDirectory(path)
    run.write_config({"seed": 1})
    return run


def is_own(run: RunDirectory) -> bool:
    return run.read_proven()[1]


def test_a_run_of_ones_own_is_known_wherever_it_goes(state: Path, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    assert is_own(run)
    run.path.rename(tmp_path / "moved")
    assert is_own(RunDirectory(tmp_path / "moved"))


def test_any_other_byte_is_not_ones_own(state: Path, tmp_path: Path) -> None:
    """One that changes nothing is enough: what was not written here is not known."""
    run = run_in(tmp_path / "run")
    content = run.config.read_bytes()
    for place in range(len(content)):
        run.config.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert not proven(run.path, run.config.read_bytes())
    run.config.write_bytes(content + b"\n")
    assert not is_own(run)


def test_the_secret_is_the_users_alone(state: Path, tmp_path: Path) -> None:
    """Nobody else can read it; the proof tells nothing of who made it, or where."""
    run_in(tmp_path / "run")
    secret = state / "origin.key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert [path.name for path in state.iterdir()] == ["origin.key"]
    proof = (tmp_path / "run" / NAME).read_text()
    assert len(proof.strip()) == 64
    assert int(proof, 16)
    assert secret.read_bytes().hex() not in proof


def test_another_secret_makes_other_proofs(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(tmp_path / "run")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert not is_own(run)
    run_in(tmp_path / "other")
    assert not is_own(run)


def test_of_many_processes_one_makes_the_secret(state: Path, tmp_path: Path) -> None:
    """And all of them use it."""
    paths = [tmp_path / str(number) for number in range(8)]
    said = together([partial(run_in, path) for path in paths], tmp_path / "said")
    assert [one.status for one in said] == [0] * 8
    assert all(is_own(RunDirectory(path)) for path in paths)


def spoil(how: str) -> Callable[[Path], None]:
    def change(secret: Path) -> None:
        match how:
            case "readable":
                secret.chmod(0o644)
            case "short":
                secret.write_bytes(b"short")
            case "long":
                secret.write_bytes(bytes(1_000))
            case "link":
                secret.rename(secret.with_name("moved"))
                secret.symlink_to("moved")
            case "pipe":
                secret.unlink()
                os.mkfifo(secret, 0o600)
            case "directory":
                secret.unlink()
                secret.mkdir()

    return change


@pytest.mark.parametrize("how", ["readable", "short", "long", "link", "pipe", "directory"])
def test_a_secret_that_is_none_proves_nothing(state: Path, tmp_path: Path, how: str) -> None:
    """It is neither used nor mended: who has it could prove what they like. That is said."""
    run = run_in(tmp_path / "run")
    spoil(how)(state / "origin.key")
    assert not is_own(run)
    assert str(state / "origin.key") in unprovable()
    run.write_config({"seed": 2})
    assert run.read_config() == {"seed": 2}
    assert not is_own(run)


def test_without_a_home_nothing_is_written_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Least of all beside where somebody happens to be."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.chdir(tmp_path)
    run = run_in(tmp_path / "run")
    assert not is_own(run)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "run"}
    assert [path.name for path in run.path.iterdir()] == ["run.toml"]


class DyingError(Exception):
    """The machine is gone."""


class Dying(OperatingSystem):
    """A disk of a machine that dies before the *last* change of a name."""

    def __init__(self, last: int) -> None:
        self.last = last

    def exchange(self, part: Path, path: Path) -> None:
        if not self.last:
            raise DyingError
        self.last -= 1
        super().exchange(part, path)


@pytest.mark.parametrize("last", [0, 1, 2])
def test_whenever_a_machine_dies_what_is_there_is_proven(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    """Before the proof, between it and run.toml, and after: the old one or the new one is there."""
    run = run_in(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(files, "disk", Dying(last))
        try:
            run.write_config({"seed": 2})
        except DyingError:
            assert last < 2
    settings, own = run.read_proven()
    assert settings == {"seed": 2 if last == 2 else 1}
    assert own


@pytest.mark.parametrize("content", [b"", b"\xff" * 999, b"0" * 10**6, b"00\n" * 20])
def test_a_proof_that_is_none_proves_nothing(state: Path, tmp_path: Path, content: bytes) -> None:
    run = run_in(tmp_path / "run")
    (run.path / NAME).write_bytes(content)
    assert not is_own(run)


def test_an_old_configuration_counts_no_longer_once_another_was_written(
    state: Path, tmp_path: Path
) -> None:
    """But for the last one, which a crash may bring back; what is not proven never comes in."""
    run = run_in(tmp_path / "run")
    old = run.config.read_bytes()
    for seed in (2, 3):
        run.write_config({"seed": seed})
    assert not proven(run.path, old)
    run.config.write_bytes(b"seed = 9\n")
    prove(run.path, b"seed = 9\n", b"seed = 8\n")
    assert not proven(run.path, b"seed = 9\n")
    assert proven(run.path, b"seed = 8\n")
