"""`billp push` and `pull`, and commands that are told an address, as their users meet them."""

import json
from pathlib import Path

import pytest

from storage.datasets import generate_environment, save
from storage.runs import RunDirectory
from tests.support.lacking import without
from tests.support.objects import NOWHERE, environment
from tests.support.shell import Shell
from tests.support.small import recorded


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run; nobody writes to it."""
    return recorded(tmp_path_factory.mktemp("recorded") / "first")


@pytest.fixture
def shell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """The command line of somebody in an empty directory, whose cache is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "shared").mkdir()
    return Shell(capsys)


@pytest.fixture
def shared(tmp_path: Path) -> str:
    return f"file://{tmp_path}/shared"


@pytest.fixture
def there(run: RunDirectory, shell: Shell, shared: str) -> str:
    """The address of the run."""
    shell.fine("push", run.path, shared)
    return f"{shared}/first"


def test_what_is_sent_and_fetched_is_told(run: RunDirectory, shell: Shell, shared: str) -> None:
    """Push tells the address that pull wants; a second time nothing has to be sent."""
    sent = shell.fine("push", run.path, shared)
    assert sent.startswith(f"{shared}/first: 12 files, ")
    assert json.loads(shell.fine("push", run.path, shared, "--json"))["moved"] == 0
    assert shell.fine("pull", sent.split(": ")[0]).startswith("first: run, 12 files, ")
    assert shell.fine("verify", "first").endswith("first is whole.\n")


LOOKS = {
    "show": ["show", "RUN", "0", "--json"],
    "trace": ["trace", "cat", "RUN", "--episode", "1"],
    "memory": ["memory", "RUN", "--json"],
    "compare": ["compare", "RUN", "--json"],
    "diff": ["diff", "RUN", "RUN", "--json"],
    "verify": ["verify", "RUN", "--json"],
}


@pytest.mark.parametrize("name", LOOKS)
def test_commands_that_look_at_a_run_take_its_address(
    name: str, run: RunDirectory, shell: Shell, there: str
) -> None:
    """They say the same as of the directory, and fetch it once."""
    here, away = (
        shell.fine(*(str(place) if word == "RUN" else word for word in LOOKS[name]))
        for place in (run.path, there)
    )
    (copy,) = Path("cache", "billp", "objects").glob("*/first")
    assert away.replace(str(copy.absolute()), str(run.path)) == here


def test_a_run_is_replayed_and_forked_from_its_address(shell: Shell, there: str) -> None:
    assert "agrees to the byte" in shell.fine("replay", there)
    shell.fine("fork", there, "--at", "1:1", "--out", "fork", "--quiet")
    assert "agrees to the byte" in shell.fine("replay", "fork")


def test_an_environment_is_run_from_its_address(shell: Shell, shared: str) -> None:
    """To the same trace: where an environment is, no trace tells."""
    save(generate_environment(3, name="mine"), Path("mine"))
    shell.fine("push", "mine", shared)
    digests = {
        json.loads(shell.fine("run", *where, "--episodes", "2", "--json"))["digest"]
        for where in (["mine"], [f"{shared}/mine"], ["--environment", f"{shared}/mine"])
    }
    assert len(digests) == 1
    (first, *_) = sorted(Path("traces", "runs").iterdir())
    shell.fine("replay", first, "--environment", f"{shared}/mine")


WRITTEN = {
    "run": ["run", "--out", "s3://bucket/run", "--episodes", "1"],
    "resume": ["resume", "s3://bucket/run"],
    "experiment": ["experiment", "--out", "s3://bucket/all"],
    "env build": ["env", "build", "synthetic", "--out", "s3://bucket/world"],
    "pull": ["pull", "s3://bucket/run", "s3://bucket/run"],
}


@pytest.mark.parametrize("name", WRITTEN)
def test_nothing_is_written_at_an_address(name: str, shell: Shell, tmp_path: Path) -> None:
    """A run is written here, and put there when it has come to its end."""
    sentence, hint = shell.refusal(*WRITTEN[name])
    assert "is an address, and no directory of this disk" in sentence
    assert hint
    assert not (tmp_path / "s3:").exists()


def test_without_the_extra_it_is_named(run: RunDirectory, shell: Shell, shared: str) -> None:
    with without("storage.objects.services", "obstore"):
        sentence, hint = shell.refusal("push", run.path, shared)
    assert sentence.startswith("file:// needs the extra objects")
    assert hint == "pip install 'billp[objects]'"


def test_who_cannot_be_reached_is_named(
    run: RunDirectory, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to look at; no key is told, and no error of somebody else's either."""
    for name, value in environment(NOWHERE).items():
        monkeypatch.setenv(name, value)
    sentence, hint = shell.refusal("push", run.path, "s3://bucket/runs")
    assert sentence.startswith("s3://bucket/runs/first: cannot be read: the service cannot be reac")
    assert "AWS_ENDPOINT_URL" in hint


def test_tab_fetches_nothing(
    shell: Shell, there: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("_BILLP_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"billp show {there} --wo")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert shell.billp().out.split() == ["--worst"]
    assert not (tmp_path / "cache").exists()
