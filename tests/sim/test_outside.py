"""What a package from outside brings: built as a wheel, installed beside billp, and run through."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from agents.roster import AGENTS
from engine.errors import ConfigError, RunDirectoryError
from sim import RunConfig, replay, run
from sim.runs.resume import resume
from sim.world.quitting import QUIT_RULES
from storage.runs import RunDirectory
from tests.support.dying import in_own_process, typed
from tests.support.outside import acme

SOURCE = Path(acme.__file__)
OFFERED = """\
[billp.agents]
scout = acme:SCOUT
[billp.quit_rules]
tired = acme:TIRED
[billp.models]
acme = acme:ACME
[billp.formats]
likes = acme:LIKES
[billp.metrics]
spread = acme:SPREAD
[billp.listeners]
responses = acme:Responses
"""
LIKES = [" ".join(f"{'abc'[i % 3]}{i}" for i in range(24) if (u * i + u) % 3) for u in range(1, 13)]
HOW = ("--agent", "scout", "--quit-rule", "tired", "--model", "acme/sharp", "--metric", "spread")
SMALL = (
    "--episodes",
    "6",
    "--arrivals",
    "batches:2",
    "--set",
    "limit=9",
    "--set",
    "scout.ahead=2",
    "--set",
    "quit.steps=3",
)


def wheel(place: Path, version: str) -> Path:
    """Build the wheel of the package: its module, and what says what it is."""
    info = f"acme_billp-{version}.dist-info"
    files = {
        "acme.py": SOURCE.read_text("utf-8"),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: acme-billp\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": OFFERED,
    }
    lines = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(text.encode())}\n")
    path = place / f"acme_billp-{version}-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": "".join(lines)}.items():
            archive.writestr(name, text)
    return path


@dataclass(frozen=True)
class Reader:
    """Somebody who works in a *place*, with packages that are installed *there*, or none."""

    place: Path
    there: Path | None = None

    def types(self, *words: str, status: int = 0) -> str:
        """Return what billp says, in a process that is forked from a warm one."""
        work = partial(with_packages, self.there, self.place, words)
        said = in_own_process(work, self.place / "any")
        assert said.status == status, said.err
        assert "Traceback" not in said.err
        return said.out + said.err

    def begins(self, *words: str) -> str:
        """Return what it says in one that Python begins as usual."""
        done = subprocess.run(
            [sys.executable, "-m", "billp", *words],
            cwd=self.place,
            env={**os.environ, "PYTHONPATH": str(self.there or "")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


def with_packages(there: Path | None, place: Path, words: Sequence[str]) -> None:
    """Be the command line where packages are installed *there*."""
    where = str(there or "")
    sys.path[:0] = [where] if where else []
    typed(place, words, PYTHONPATH=where)


def install(place: Path, version: str) -> Path:
    there = place / f"installed-{version}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    where = ["--disable-pip-version-check", "--target", str(there)]
    subprocess.run([*pip, *where, str(wheel(place, version))], check=True, capture_output=True)
    return there


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A user of the package, with an environment built from a format of it, and a run."""
    place = tmp_path_factory.mktemp("outside")
    reader = Reader(place, install(place, "1.2"))
    (place / "likes.txt").write_text("\n".join(LIKES))
    reader.begins("env", "build", "likes", "likes.txt", "--out", "world", "--force")
    reader.begins("run", "world", *HOW, *SMALL, "--listener", "responses", "--out", "run")
    return reader


def told(user: Reader, run: str) -> dict[str, object]:
    summary: dict[str, object] = json.loads((user.place / run / "summary.json").read_bytes())
    return summary


def test_a_run_has_parts_from_outside(user: Reader) -> None:
    """An agent with its role, settings and memory; a quit rule; a model; a metric; a listener."""
    summary = told(user, "run")
    assert (summary["agent"], summary["model"], summary["quit_rule"]) == ("scout", "sharp", "tired")
    assert summary["quits"] == {"tired": 6}
    assert summary["calls"] == summary["steps"] == summary["listeners"]["responses"]  # type: ignore[index]
    assert summary["own_metrics"]["spread"]["visits"] == 6  # type: ignore[index]
    origins = RunDirectory(user.place / "run").read_config()["parts"]
    assert origins == dict.fromkeys(
        ("agent scout", "quit rule tired", "model provider acme", "metric spread"), "acme-billp 1.2"
    )


def test_what_it_left_can_be_looked_at(user: Reader) -> None:
    """The views ask the agent what its records say, and the rule what its words mean."""
    assert "recalled landmark" in user.types("show", "run", "5:0")
    assert "You scout." in user.types("show", "run", "5:0", "--prompt", "scout")
    likeness = user.types("memory", "run", "--like", "nowhere")
    assert "that of keys: the last title" in likeness
    assert "landmarks" in likeness
    assert "landmarks" in user.types("verify", "run")


def test_it_replays_and_forks(user: Reader) -> None:
    """Its settings can change at a fork, and its role can be told what to say."""
    assert "agree" in user.types("replay", "run")
    change = ("--set", "scout.ahead=3", "--say", "scout=7", "--out", "fork")
    user.types("fork", "run", "--at", "2:0", *change)
    assert "agree" in user.types("replay", "fork")
    assert told(user, "fork")["digest"] != told(user, "run")["digest"]


def test_an_experiment_is_checked_and_compared_by_its_metric(user: Reader) -> None:
    """The leak check knows its keys by the agent; another agent does not have its settings."""
    settings = ("--set", "limit=9", "--set", "scout.ahead=2", "--set", "model='acme/sharp'")
    sizes = ("--episodes", "6", "--test-episodes", "2", "--seeds", "1,2")
    what = ("--agents", "scout,random", "--env", "world", *sizes, *settings)
    page = user.types("experiment", *what, "--measure", "spread", "--out", "experiment")
    assert "Spread" in page
    runs = [f"experiment/{agent}-seed={seed}" for agent in ("scout", "random") for seed in (1, 2)]
    assert "Differences of Spread" in user.types("compare", *runs, "--measure", "spread")


def test_what_is_missing_is_said(user: Reader, tmp_path: Path) -> None:
    """Nothing of it can be run without its package, or with another version than then, unsaid."""
    bare = Reader(user.place)
    sentence = bare.types("replay", "run", status=2)
    assert "the run needs the agent 'scout' of acme-billp 1.2, which is not here" in sentence
    newer = Reader(user.place, install(tmp_path, "1.3"))
    warned = newer.types("replay", "run")
    assert "acme-billp 1.2" in warned
    assert "acme-billp 1.3" in warned


def test_an_unknown_setting_of_an_agent_is_named(user: Reader) -> None:
    said = user.types("run", "world", *HOW, "--set", "scout.ahed=2", status=2)
    assert "there is no setting 'scout.ahed'" in said
    assert "did you mean scout.ahead?" in said


# -- in Python, as objects


def test_the_objects_themselves_are_taken(tmp_path: Path) -> None:
    """By a name that says where they are; so a replay finds them."""
    config = RunConfig(episodes=3, limit=5, model="tests.support.outside.acme:ACME/blunt")
    summary = run(
        config,
        agent=acme.SCOUT,
        quit_rule=acme.TIRED,
        metrics=[acme.SPREAD],
        out=tmp_path / "run",
    )
    assert [*summary.own_metrics] == ["tests.support.outside.acme:SPREAD"]
    assert summary.agent == "tests.support.outside.acme:SCOUT"
    assert (summary.model, summary.metrics.quits) == ("blunt", {"tired": 3})
    assert replay(tmp_path / "run").agrees


def test_an_object_that_nobody_finds_again_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is in no variable of a module"):
        run(agent=replace(acme.SCOUT), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["scuot", "acme:", ":SCOUT", "a b:c", ""])
def test_a_name_that_is_none_is_said_with_what_there_is(name: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no agent '{name}'") as caught:
        AGENTS.named(name)
    assert "billp" in caught.value.hint


def test_a_part_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="to be of QuitRule, got Agent"):
        QUIT_RULES.named("tests.support.outside.acme:SCOUT")


def test_a_run_from_elsewhere_imports_no_module_of_its_choice(tmp_path: Path) -> None:
    """Its run.toml was not written here: what it names is not even looked for."""
    made = RunConfig(episodes=1, limit=2, model="tests.support.outside.acme:ACME/blunt")
    run(made, agent=acme.SCOUT, out=tmp_path / "run")
    here = RunDirectory(tmp_path / "run")
    text = here.config.read_text().replace("acme:SCOUT", "never:SCOUT")
    here.config.write_text(text)
    here.summary.unlink()
    for act in (replay, resume):
        with pytest.raises(RunDirectoryError, match="was not written here, and would import"):
            act(here.path)
    assert "tests.support.outside.never" not in sys.modules
