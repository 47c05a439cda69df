"""Provenance: which code worked on a run, when, and how it was begun, without a secret."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from shutil import which

import pytest

from engine.errors import RunDirectoryError
from storage.provenance import (
    Checkout,
    Process,
    checkout_of,
    command,
    read_provenance,
    this_process,
    written,
)

PROCESS = Process(
    version="1.0", python="3.12.1", platform="Linux", command="billp run", started="2026-01-02"
)


def git(place: Path, *words: str) -> str:
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "commit.gpgsign=false")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    line = ["git", "-C", str(place), *who, *words]
    done = subprocess.run(line, check=True, capture_output=True, text=True, env=plain)
    return done.stdout.strip()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A file in a checkout."""
    if which("git") is None:
        pytest.skip("git is not here")
    file = tmp_path / "package" / "code.py"
    file.parent.mkdir()
    file.write_text("1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "Begin")
    return file


def test_a_checkout_is_known_by_its_commit(code: Path) -> None:
    assert checkout_of(code) == Checkout(git(code.parent, "rev-parse", "HEAD"), changed=False)


def test_changed_files_are_told(code: Path) -> None:
    code.write_text("2\n")
    assert checkout_of(code).changed


def test_an_installed_package_is_no_checkout(code: Path) -> None:
    """Though it may lie within somebody's: nobody has committed it."""
    installed = code.parent / "installed.py"
    installed.write_text("3\n")
    assert checkout_of(installed) == Checkout()


def test_a_checkout_runs_nothing_of_its_own(code: Path, tmp_path: Path) -> None:
    """Whoever made it may have set a monitor of files, or hooks."""
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    git(tmp_path, "config", "core.fsmonitor", str(hook))
    hooks = tmp_path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "post-index-change").symlink_to(hook)
    assert checkout_of(code).commit
    assert not (tmp_path / "ran").exists()


def test_without_git_there_is_no_commit(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs git to run anything."""
    monkeypatch.setenv("PATH", str(code.parent))
    assert checkout_of(code) == Checkout()


def test_a_command_is_told_as_a_shell_takes_it() -> None:
    words = ["/usr/bin/billp", "run", "my world", "--seed", "3"]
    assert command(words) == "billp run 'my world' --seed 3"


@pytest.mark.parametrize("word", ["{}", "--base-url={}", "base_url={}"])
def test_no_password_of_an_address_is_told(word: str) -> None:
    """Nor a query, in which others put keys."""
    told = command(["billp", word.format("https://me:secret@example.org:8000/v1?key=secret#a")])
    assert told == f"billp {word.format('https://example.org:8000/v1')}"


def test_of_other_programs_only_the_name_is_told() -> None:
    """What their words mean is not known: one may be a key."""
    assert command(["/home/me/study.py", "--key", "secret"]) == "study.py"
    assert command([]) == ""


def test_a_command_is_bounded_and_inert() -> None:
    assert command(["billp", "\x1b[2J\udcff"]) == "billp '\\x1b[2J\\udcff'"
    assert len(command(["billp", "x" * 10_000])) == 4_000


def test_a_process_tells_of_itself() -> None:
    """Times are UTC, to the second, as ISO 8601 has them."""
    here = this_process()
    ended = here.over(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert (here.ended, ended.ended) == ("", "2026-01-02T03:04:05Z")
    assert datetime.fromisoformat(here.started).tzinfo == UTC
    assert here.version
    assert here.python.count(".") == 2


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A run from before has none; of very many processes the first and the last are kept."""
    assert read_provenance({}) == ()
    assert read_provenance(written([PROCESS])) == (PROCESS,)
    many = [PROCESS, *[PROCESS.over(datetime(2026, 1, 1, tzinfo=UTC))] * 150]
    assert read_provenance(written(many)) == tuple(many[:100])


def test_what_is_no_provenance_is_said() -> None:
    with pytest.raises(RunDirectoryError, match=r"run.toml: provenance: .*version"):
        read_provenance({"provenance": [{"python": "3.12"}]})
