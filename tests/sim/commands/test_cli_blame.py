"""`billp blame`, as its users meet it."""

import json
import signal
from functools import partial
from pathlib import Path

import pytest

from engine.errors import ServiceError
from storage.runs import RunDirectory
from tests.sim.runs.test_interrupt import PATIENCE, SLOW, told
from tests.sim.runs.test_interrupt import Counted as Signalling
from tests.support.dying import living
from tests.support.shell import Said, Shell, serving, tree
from tests.support.small import Counted, recorded

FEW = ("--episode", "5", "--draws", "2", "--leading", "2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A recorded run; nobody writes to it."""
    return recorded(tmp_path_factory.mktemp("recorded") / "run")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every test begin in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


# -- what it tells


def test_the_page_tells_what_where_and_what_to_do(
    capsys: pytest.CaptureFixture[str], run: RunDirectory, here: Path
) -> None:
    """In 80 columns: a table of causes, where to look, and, honestly, what the model is.

    Nothing is written, neither to the run nor, where nothing is paid, anywhere else.
    """
    before = tree(run.path)
    page = Shell(capsys, 80).fine("blame", run.path, *FEW)
    assert tree(run.path) == before
    assert tree(here) == {}
    assert page.split()[:3] == ["Episode", "5", "of"]
    for words in ("gain without [95 %]", "plays", "a stand-in"):
        assert words in page
    table = page.split("\n\n")[1].splitlines()
    assert max(map(len, table)) <= 80


def test_json_is_one_object_and_nothing_is_written(
    shell: Shell, run: RunDirectory, here: Path
) -> None:
    """Neither to the run nor, where nothing is paid, anywhere else."""
    before = tree(run.path)
    out = shell.fine("blame", run.path, *FEW, "--json")
    assert tree(run.path) == before
    assert tree(here) == {}
    assert out.count("\n") == 1
    told = json.loads(out)
    assert (told["episode"], told["draws"]) == (5, 2)
    assert {"cause", "effect", "low", "high", "draws", "p"} <= told["causes"][0].keys()


def test_a_dry_run_tells_the_cost_and_calls_nobody(
    shell: Shell, run: RunDirectory, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a price; nothing is kept of it."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    price = "prices.any={prompt = 1.0, completion = 2.0}"
    options = ("--dry-run", "--json", "--model", "openai/any", "--set", price)
    told = json.loads(shell.fine("blame", run.path, *FEW, *options))
    assert 0 < told["calls"] <= told["most"]
    assert 0 < told["cost"] <= told["most_cost"]
    assert tree(here) == {}
    assert "at most" in shell.fine("blame", run.path, *FEW, "--dry-run")


def test_what_was_paid_for_is_not_asked_again(
    shell: Shell, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies are kept, wherever they are not told to be: the second time nobody is asked."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    model = Counted()
    with serving(model) as url:
        service = ("--model", "openai/embedded", "--base-url", url, "--json")
        first = json.loads(shell.fine("blame", run.path, *FEW, *service))
        asked = len(model.asked)
        again = json.loads(shell.fine("blame", run.path, *FEW, *service))
    assert asked > 0
    # Once more what the service follows is found out, and nothing else.
    assert len({call.role for call in model.asked[asked:]} & {"planner", "actor"}) == 0
    assert first["causes"] == again["causes"]
    assert first["cache"] == str(Path("traces/replies"))


# -- what it refuses


def test_a_run_that_has_not_ended(shell: Shell) -> None:
    with pytest.raises(ServiceError):
        recorded(Path("run"), Counted(last=60))
    expected = ("run: the run has not come to its end", "billp resume run")
    assert shell.refusal("blame", "run", *FEW) == expected


def test_a_run_that_was_imported(shell: Shell) -> None:
    Path("run").mkdir()
    Path("run/run.toml").write_text("[imported]\n")
    assert shell.refusal("blame", "run", *FEW)[0].startswith("run: was imported")


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--draws", "1", "expected at least 2 draws, got 1"),
        ("--leading", "0", "expected at least 1 leading cause, got 0"),
        ("--set", "seed=3", "seed cannot be changed here: it decided the run"),
        ("--model", "embeded", "there is no model 'embeded'"),
    ],
)
def test_an_option_that_cannot_be(
    shell: Shell, run: RunDirectory, option: str, value: str, sentence: str
) -> None:
    assert shell.refusal("blame", run.path, *FEW, option, value)[0] == sentence


def test_a_budget_that_is_spent_ends_it_with_what_is_known(shell: Shell, run: RunDirectory) -> None:
    page = shell.fine("blame", run.path, *FEW, "--max-calls", "40")
    assert "allow more by --max-calls" in page


def test_interruption_is_one_sentence(run: RunDirectory, here: Path) -> None:
    """In the middle of a play; what was paid for is kept."""
    model, before = Signalling(), tree(run.path)
    with serving(model, SLOW) as url:
        service = ["--model", "openai/embedded", "--base-url", url]
        words = ["blame", str(run.path), "--episode", "5", *service]
        with living(partial(told, (), here, words), here / "any") as process:
            model.enough.wait(PATIENCE)
            process.send(signal.SIGINT)
            said = process.ended()
    kept = "what was paid for is kept, and is not paid for again"
    assert said == Said(130, "", f"billp: interrupted\n  {kept}\n")
    assert tree(run.path) == before
