"""`billp run`: what it says, what it can be told, who may listen."""

import json
import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from agents.models.serving.refusals import RefusedRequestError
from sim.config.run import RunConfig
from sim.runs.visitors import visitors
from storage.datasets import open_environment
from storage.runs import RunDirectory
from storage.traces import read_trace
from tests.support.shell import Said, Shell, serving

FEW = ("--episodes", "4")
LISTENERS = """
from engine.messages import UserResponded

class Everything:
    def __init__(self):
        self.heard = []

    def __call__(self, envelope):
        self.heard.append([envelope.episode, type(envelope.message).__name__])

    def result(self):
        return self.heard

class Live(Everything):
    live = True

class Raising(Everything):
    hears = UserResponded

    def __call__(self, envelope):
        raise ValueError("no more of this")

class LiveRaising(Raising):
    live = True

class Inconclusive(Everything):
    def result(self):
        raise ValueError("nothing to say")
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every test begin in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


Listening = Callable[[str], Said]


@pytest.fixture
def listening(here: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    """Give a function that runs with a listener of the user's own."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (here / "my_listeners.py").write_text(LISTENERS)

    def run(name: str) -> Said:
        listener = f"my_listeners:{name}"
        return shell.billp("run", *FEW, "--json", "--out", "heard", "--listener", listener)

    yield run
    sys.modules.pop("my_listeners", None)


def summary(out: str) -> dict[str, Any]:
    """Return the one object that *out* is."""
    found: dict[str, Any] = json.loads(out)
    assert out.count("\n") == 1
    return found


def in_trace(directory: str) -> list[list[Any]]:
    """Return what a trace holds, as the listeners above note it."""
    return [
        [e.episode, type(e.message).__name__] for e in read_trace(Path(directory, "trace.jsonl"))
    ]


# -- what it says


def test_json_is_one_object_and_nothing_else(shell: Shell) -> None:
    """For programs: everything about the run on one line, and a silent standard error."""
    said = shell.billp("run", *FEW, "--json", "--out", "mine")
    found = summary(said.out)
    assert (said.status, said.err) == (0, "")
    assert found["run"] == "mine"
    assert found.keys() >= {
        *("run", "digest", "episodes", "failed", "steps", "len", "r_each", "r_traj", "coverage"),
        *("messages", "calls", "tokens", "seconds", "utilization"),
    }


def test_the_summary_on_disk_is_the_one_that_was_told(shell: Shell) -> None:
    found = summary(shell.fine("run", *FEW, "--json", "--out", "mine"))
    assert found == RunDirectory(Path("mine")).read_summary()


def test_counts_are_those_of_the_trace(shell: Shell) -> None:
    """Messages, episodes, steps and calls can be counted again by anybody."""
    found = summary(shell.fine("run", *FEW, "--json", "--out", "mine"))
    kinds = Counter(kind for _, kind in in_trace("mine"))
    assert found["messages"] == kinds.total()
    assert found["episodes"] == kinds["EpisodeEnded"] == 4
    assert found["steps"] == kinds["UserResponded"]
    assert found["calls"] == kinds["ModelReplied"]


def test_quiet_says_nothing(shell: Shell) -> None:
    said = shell.billp("run", *FEW, "--quiet", "--out", "mine")
    assert (said.status, said.out, said.err) == (0, "", "")
    assert RunDirectory(Path("mine")).read_summary()["episodes"] == 4


def test_quiet_leaves_the_json_that_was_asked_for(shell: Shell) -> None:
    assert summary(shell.fine("run", *FEW, "--quiet", "--json"))["episodes"] == 4


def test_the_report_names_metrics_digest_and_path(shell: Shell) -> None:
    out = shell.fine("run", *FEW, "--out", "mine")
    digest = sha256(Path("mine/trace.jsonl").read_bytes()).hexdigest()
    for text in ("Len", "R_each", "R_traj", f"digest    {digest}", "run       mine\n", "stand-in"):
        assert text in out


def test_the_next_commands_can_be_copied(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    """Also from a long path with spaces: neither broken by the shell nor by the line's end."""
    shell = Shell(capsys, width=80)
    out = here / "runs of last week" / "that went on and on and on and on and on and on and on"
    lines = shell.fine("run", *FEW, "--out", out).splitlines()
    show, replay = (shlex.split(line) for line in lines[lines.index("Next:") + 1 :])
    assert f"run       {out}" in lines
    assert "agrees to the byte" in shell.fine(*replay[1:3])
    assert shell.fine(*show[1:4]).startswith("Episode 0: ")


def test_defaults_are_shown(shell: Shell) -> None:
    """The help says what is done without an option."""
    said = shell.fine("run", "--help")
    for default in ("billp", "100", "embedded", "batches:10", "forbid", "synthetic", "16"):
        assert f"default: ({default})" in said


def test_runs_without_a_place_are_numbered(shell: Shell) -> None:
    """Each goes to the next directory of its name."""
    runs = [summary(shell.fine("run", *FEW, "--json"))["run"] for _ in range(2)]
    assert runs == ["traces/runs/synthetic-billp-1", "traces/runs/synthetic-billp-2"]


# -- what it can be told


def test_run_toml_suffices_to_run_again(shell: Shell) -> None:
    """Whatever was set by whatever way stands in it."""
    told = ("--seed", "3", "--repeats", "avoid", "--arrivals", "poisson:0.5")
    single = ("--set", "planner.recall_count=1", "--set", "quit.window=2")
    first = summary(shell.fine("run", *FEW, *told, *single, "--json", "--out", "first"))
    again = summary(shell.fine("run", "--config", "first/run.toml", "--json", "--out", "again"))
    assert again["digest"] == first["digest"]
    assert Path("again/run.toml").read_bytes() == Path("first/run.toml").read_bytes()


def test_a_file_then_options_then_single_settings(shell: Shell) -> None:
    """The later wins, setting by setting; what nobody names is left as it is."""
    Path("mine.toml").write_text(
        "episodes = 9\nseed = 1\nhistory = 5\n[quit]\nwindow = 3\nquantile = 0.5\n"
    )
    told = ("--config", "mine.toml", "--episodes", "2", "--seed", "2")
    shell.fine(
        "run", *told, "--set", "seed=3", "--set", "quit.window=1", "--quiet", "--out", "mine"
    )
    settings = RunDirectory(Path("mine")).read_config()
    decided = {name: settings[name] for name in ("episodes", "seed", "history", "limit")}
    assert decided == {"episodes": 2, "seed": 3, "history": 5, "limit": 50}
    assert settings["quit"] == {"window": 1, "quantile": 0.5, "tolerance": [1.0, 1.0]}


@pytest.mark.parametrize("agent", ["random", "popular", "diverse-greedy"])
def test_baselines_need_no_model(shell: Shell, agent: str) -> None:
    found = summary(shell.fine("run", *FEW, "--agent", agent, "--json"))
    assert (found["agent"], found["calls"], found["episodes"]) == (agent, 0, 4)


def test_the_way_to_the_model_leaves_no_mark(shell: Shell) -> None:
    """The embedded model over HTTP gives the digest of the embedded model in process."""
    with serving() as url:
        remote = ("--model", "openai/embedded", "--base-url", url, "--concurrency", "3")
        over_http = summary(shell.fine("run", *FEW, *remote, "--json"))
    assert over_http["digest"] == summary(shell.fine("run", *FEW, "--json"))["digest"]


# -- who may listen


def test_a_follower_hears_everything_in_canonical_order(listening: Listening) -> None:
    """What it found is in the summary, under the name it was asked for by."""
    found = summary(listening("Everything").out)
    assert found["listeners"] == {"my_listeners:Everything": in_trace("heard")}
    assert RunDirectory(Path("heard")).read_summary()["listeners"] == found["listeners"]


def test_a_live_listener_hears_everything_as_it_happens(listening: Listening) -> None:
    """The same messages, in whatever order real time gave them."""
    heard = summary(listening("Live").out)["listeners"]["my_listeners:Live"]
    assert Counter(map(tuple, heard)) == Counter(map(tuple, in_trace("heard")))


@pytest.mark.parametrize("name", ["Everything", "Live", "Raising", "LiveRaising", "Inconclusive"])
def test_listeners_leave_no_mark(shell: Shell, listening: Listening, name: str) -> None:
    """Not even one that raises: the run goes on to the same digest."""
    alone = summary(shell.fine("run", *FEW, "--json", "--out", "alone"))
    assert summary(listening(name).out)["digest"] == alone["digest"]


@pytest.mark.parametrize("name", ["Raising", "LiveRaising"])
def test_a_listener_that_raises_is_told_of(listening: Listening, name: str) -> None:
    """On standard error, with what it raised; standard output keeps to the one object."""
    said = listening(name)
    assert said.status == 0
    assert summary(said.out)["failed"] == 0
    assert re.search(f"(follower|listener)=my_listeners:{name} run=heard", said.err)
    assert said.err.endswith("ValueError: no more of this\n")


def test_a_result_that_raises_costs_the_result_alone(listening: Listening) -> None:
    found = summary(listening("Inconclusive").out)["listeners"]
    assert found == {"my_listeners:Inconclusive": {"error": "ValueError: nothing to say"}}


# -- what fails


class Averse:
    """The embedded model, out of order whenever it is asked about one user."""

    def __init__(self, titles: Sequence[str]) -> None:
        self.titles = titles
        self.model = EmbeddedModel()

    async def reply(self, request: ChatRequest) -> ChatReply:
        if all(title in request.messages[-1].content for title in self.titles):
            raise RefusedRequestError(500, "The server had an error.", kind="server_error")
        return await self.model.reply(request)


def test_an_episode_fails_alone(shell: Shell) -> None:
    """A call that failed for good costs its episode, which is counted and explained."""
    config, environment = RunConfig(episodes=4), open_environment("synthetic")
    history = environment.history(visitors(config, environment)[1][0], config.history)
    titles = [environment.catalog.titles[item] for item, _ in history]
    with serving(Averse(titles)) as url:
        remote = ("--model", "openai/embedded", "--base-url", url, "--set", "attempts=1")
        said = shell.billp("run", *FEW, *remote, "--json", "--out", "mine")
    found = summary(said.out)
    assert (said.status, found["episodes"], found["failed"]) == (3, 3, 1)
    (failed,) = (episode for episode, kind in in_trace("mine") if kind == "EpisodeFailed")
    page = shell.fine("show", "mine", str(failed))
    assert "The planner's call at step 0 failed: server." in page
    assert "Planner.plan raised CallFailedError. Nothing of it is" in page
