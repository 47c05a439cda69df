"""`billp critic`, as its users meet it."""

import json
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ServiceError
from storage.runs import RunDirectory
from tests.sim.runs.test_interrupt import PATIENCE, SLOW, told
from tests.sim.runs.test_interrupt import Counted as Signalling
from tests.support.dying import living
from tests.support.lacking import without
from tests.support.shell import Said, Shell, serving, tree
from tests.support.small import Counted, recorded

FEW = ("--states", "3", "--rollouts", "2")


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


def facts(out: str) -> dict[str, Any]:
    """Return the one object that *out* is."""
    assert out.count("\n") == 1
    found: dict[str, Any] = json.loads(out)
    return found


# -- what it tells


def test_the_tables_tell_spread_and_bias(shell: Shell, run: RunDirectory) -> None:
    """And, honestly, what the embedded model is."""
    page = shell.fine("critic", run.path, *FEW)
    assert page.startswith(f"3 states of {run.path}, 2 rollouts of each, γ = 0.5, seed 0\n")
    for name in ("V(s), asked again", "r + γ·V(s′)", "return, discounted", "return, undiscounted"):
        assert name in page
    for measure in ("Pearson [95 %]", "bias", "worth, in rollouts"):
        assert measure in page
    assert "a stand-in" in page


@pytest.mark.parametrize("width", [80, 200])
def test_the_tables_fit_a_terminal(
    width: int, capsys: pytest.CaptureFixture[str], run: RunDirectory
) -> None:
    page = Shell(capsys, width).fine("critic", run.path, *FEW)
    assert "…" not in page


def test_json_is_one_object(shell: Shell, run: RunDirectory) -> None:
    """With every draw; what is infinite or unknown is null."""
    told = facts(shell.fine("critic", run.path, *FEW, "--json"))
    assert [len(state["draws"]["return"]) for state in told["states"]] == [2, 2, 2]
    assert told["spreads"].keys() == {"value", "target", "return", "total"}
    assert told["fits"].keys() == {"return", "total"}
    assert told["spreads"]["value"]["signal"] is None


def test_a_seed_and_a_discount_can_be_given(shell: Shell, run: RunDirectory) -> None:
    options = (*FEW, "--json", "--discount", "0.9")
    told = [facts(shell.fine("critic", run.path, *options, "--seed", str(n))) for n in (1, 1, 2)]
    assert told[0] == told[1]
    assert told[0]["states"] != told[2]["states"]
    assert (told[0]["seed"], told[0]["discount"]) == (1, 0.9)


def test_nothing_is_written(shell: Shell, run: RunDirectory, here: Path) -> None:
    """Neither to the run nor anywhere else."""
    before = tree(run.path)
    shell.fine("critic", run.path, *FEW)
    assert tree(run.path) == before
    assert tree(here) == {}


def test_a_service_can_be_asked(
    shell: Shell, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the model behind it the same comes out, and its calls are counted."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    with serving() as url:
        service = ("--model", "openai/embedded", "--base-url", url)
        told = shell.fine("critic", run.path, *FEW, "--json", *service)
    assert facts(told) == facts(shell.fine("critic", run.path, *FEW, "--json"))
    assert facts(told)["calls"] > 0


# -- plots


@pytest.mark.parametrize(
    ("name", "opening"), [("a.png", b"\x89PNG"), ("a.svg", b"<svg"), ("a.pdf", b"%PDF")]
)
def test_a_plot_is_drawn(shell: Shell, run: RunDirectory, name: str, opening: bytes) -> None:
    pytest.importorskip("vl_convert")
    shell.fine("critic", run.path, *FEW, "--plot", name)
    assert Path(name).read_bytes().startswith(opening)


def test_a_plot_is_the_same_every_time(shell: Shell, run: RunDirectory) -> None:
    pytest.importorskip("vl_convert")
    for name in ("one.svg", "two.svg"):
        shell.fine("critic", run.path, *FEW, "--plot", name)
    assert Path("one.svg").read_bytes() == Path("two.svg").read_bytes()


def test_a_plot_needs_an_extra(shell: Shell, run: RunDirectory) -> None:
    """Which is said before anything is asked."""
    with without("sim.views.charts", "altair"):
        sentence, hint = shell.refusal("critic", run.path, *FEW, "--plot", "a.png")
    assert sentence.startswith("--plot needs the extra view: ")
    assert hint == "pip install 'billp[view]'"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a.gif", "--plot: expected a file named .png, .svg, .pdf or .html, got 'a.gif'"),
        ("plot", "--plot: expected a file named .png, .svg, .pdf or .html, got 'plot'"),
        ("no/a.png", "--plot: there is no directory 'no'"),
    ],
)
def test_a_plot_that_cannot_be(shell: Shell, run: RunDirectory, name: str, sentence: str) -> None:
    assert shell.refusal("critic", run.path, *FEW, "--plot", name)[0] == sentence


# -- what it refuses


def test_a_run_without_a_critic(shell: Shell) -> None:
    recorded(Path("run"), agent="react")
    sentence, hint = shell.refusal("critic", "run")
    assert sentence == "run: no critic valued a state that a step follows (agent react)"
    assert "billp" in hint


def test_a_run_that_has_not_ended(shell: Shell) -> None:
    with pytest.raises(ServiceError):
        recorded(Path("run"), Counted(last=60))
    expected = ("run: the run has not come to its end", "billp resume run")
    assert shell.refusal("critic", "run", *FEW) == expected


def test_a_run_that_was_imported(shell: Shell) -> None:
    Path("run").mkdir()
    Path("run/run.toml").write_text("[imported]\n")
    assert shell.refusal("critic", "run")[0].startswith("run: was imported")


def test_a_run_that_does_not_exist(shell: Shell) -> None:
    assert "nowhere" in shell.refusal("critic", "nowhere")[0]


def test_more_states_than_there_are(shell: Shell, run: RunDirectory) -> None:
    sentence, hint = shell.refusal("critic", run.path, "--states", "1000")
    assert "1000 states are asked for, but the critic valued " in sentence
    assert hint == f"--states {sentence.rpartition(' ')[2]}"


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--states", "2", "expected at least 3 states, got 2"),
        ("--rollouts", "1", "expected at least 2 rollouts, got 1"),
        ("--discount", "1.5", "expected a discount from 0 to 1, got 1.5"),
        ("--discount", "nan", "expected a discount from 0 to 1, got nan"),
        ("--set", "quit.window=1", "quit.window cannot be changed here: it decided the run"),
        ("--set", "seed=3", "seed cannot be changed here: it decided the run"),
        ("--set", "critc.temperature=1", "there is no setting 'critc'"),
        ("--model", "embeded", "there is no model 'embeded'"),
    ],
)
def test_an_option_that_cannot_be(
    shell: Shell, run: RunDirectory, option: str, value: str, sentence: str
) -> None:
    assert shell.refusal("critic", run.path, option, value)[0] == sentence


def test_a_key_that_is_missing(
    shell: Shell, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    sentence, _ = shell.refusal("critic", run.path, *FEW, "--model", "openai/any")
    assert sentence == "no key in the environment variable OPENAI_API_KEY"


def test_a_budget_that_is_spent(shell: Shell, run: RunDirectory) -> None:
    """It is that of the critique alone; its exit status is a run's."""
    said = shell.billp("critic", run.path, *FEW, "--set", "max_calls=5")
    assert (said.status, said.out) == (4, "")
    assert "max_calls is reached" in said.err
    assert "allow more: --set max_calls=…" in said.err


def test_interruption_is_one_sentence(run: RunDirectory, here: Path) -> None:
    """In the middle of a rollout; nothing is left behind."""
    model, before = Signalling(), tree(run.path)
    with serving(model, SLOW) as url:
        words = ["critic", str(run.path), "--model", "openai/embedded", "--base-url", url]
        with living(partial(told, (), here, words), here / "any") as process:
            model.enough.wait(PATIENCE)
            process.send(signal.SIGINT)
            said = process.ended()
    kept = "--set cache=DIR keeps replies for the next time"
    assert said == Said(130, "", f"billp: interrupted\n  {kept}\n")
    assert tree(run.path) == before
