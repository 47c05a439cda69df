"""`billp fork`, `diff`, `verify` and `trace`, as their users meet them."""

import json
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from shutil import copytree
from typing import Any, get_args

import polars as pl
import pytest

from engine.messages import ActionTaken, Message, ModelReplied, PlanMade
from engine.text import counted
from storage.runs import RunDirectory
from storage.traces import digest_of
from tests.support.shell import Shell, serving, tree
from tests.support.small import lines_of, only, recorded, trace_of

AT = ("--at", "3:1")


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


@pytest.fixture
def spoilt(run: RunDirectory, here: Path) -> RunDirectory:
    """A copy whose journal has lost its second call."""
    copy = RunDirectory(Path(copytree(run.path, here / "spoilt")).relative_to(here))
    lines = copy.journal.read_bytes().splitlines(keepends=True)
    copy.journal.write_bytes(b"".join([lines[0], *lines[2:]]))
    return copy


def facts(out: str) -> dict[str, Any]:
    """Return the one object that *out* is."""
    assert out.count("\n") == 1
    found: dict[str, Any] = json.loads(out)
    return found


# -- fork


def test_a_fork_tells_what_came_of_it(shell: Shell, run: RunDirectory) -> None:
    """As any run does: a table or one object, and the run directory to go on with."""
    change = ("--set", "quit.window=1", "--set", "limit=5")
    said = shell.billp("fork", run.path, *AT, *change, "--json", "--out", "mine")
    assert (said.status, said.err) == (0, "")
    told = facts(said.out)
    assert (told["run"], told["digest"]) == ("mine", digest_of(Path("mine/trace.jsonl")))
    assert f"digest    {told['digest']}" in shell.fine("fork", run.path, *AT, *change)


def test_forks_without_a_place_are_numbered(shell: Shell, run: RunDirectory) -> None:
    """They stand beside the runs, and quiet ones say nothing."""
    assert [shell.fine("fork", run.path, *AT, "--quiet") for _ in range(2)] == ["", ""]
    names = ["synthetic:plain-billp-fork-1", "synthetic:plain-billp-fork-2"]
    assert sorted(path.name for path in Path("traces/runs").iterdir()) == names


def test_words_are_said_in_place_of_a_reply(shell: Shell, run: RunDirectory) -> None:
    """With all that stands behind the first sign of equality."""
    words = "Take Puzzle = Racing."
    shell.fine("fork", run.path, *AT, "--say", f"planner={words}", "--quiet", "--out", "mine")
    thoughts = [plan.thought for plan in only(trace_of(RunDirectory(Path("mine"))), PlanMade)]
    assert thoughts.count(words) == 1


def test_the_rest_may_come_from_a_service(shell: Shell, run: RunDirectory) -> None:
    """Which leaves no mark: the trace is that of a fork in process."""
    change = ("--set", "planner.temperature=0.1", "--json")
    with serving() as url:
        remote = ("--model", "openai/embedded", "--base-url", url)
        over_http = facts(shell.fine("fork", run.path, *AT, *change, *remote))
    assert over_http["live_calls"] > 0
    assert over_http["digest"] == facts(shell.fine("fork", run.path, *AT, *change))["digest"]


def test_a_fork_replays_and_is_whole(shell: Shell, run: RunDirectory) -> None:
    shell.fine("fork", run.path, *AT, "--set", "rewards.offset=0.5", "--quiet", "--out", "mine")
    assert "agrees to the byte" in shell.fine("replay", "mine")
    assert "mine is whole." in shell.fine("verify", "mine")


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (("--at", "3"), "expected EPISODE:STEP, got '3'", "such as 3:0"),
        (("--at", "9:0"), "/trace.jsonl: there is no episode 9", "it holds 0 to 5"),
        (("--at", "3:99"), "episode 3 of the run has no step 99", "it has the steps 0 to 6"),
        ((*AT, "--set", "seed=1"), "seed cannot be changed by a fork", "a fork can change planner"),
        ((*AT, "--set", "quit.windw=1"), "there is no setting 'quit.windw'", "did you mean quit"),
        ((*AT, "--say", "planer=Go"), "there is no role 'planer'", "the roles are planner"),
        ((*AT, "--say", "planner"), "expected ROLE=TEXT, got 'planner'", '--say planner="Take'),
        ((*AT, "--model", "embeded"), "there is no model 'embeded'", "did you mean embedded?"),
        ((*AT, "--out", "."), ".: the output directory is not empty", "choose another --out"),
        ((*AT, "--environment", "gone"), "gone: is not an environment", "billp env build"),
    ],
)
def test_what_cannot_be_forked(
    words: tuple[str, ...], sentence: str, hint: str, shell: Shell, run: RunDirectory, here: Path
) -> None:
    """One sentence and a hint, exit status 2, and nothing is made."""
    (here / "something").touch()
    told = shell.refusal("fork", run.path, *words)
    assert sentence in told[0]
    assert hint in told[1]
    assert list(here.iterdir()) == [here / "something"]


# -- diff


@pytest.fixture
def fork(shell: Shell, run: RunDirectory) -> str:
    """A fork in which users are easier to please."""
    shell.fine("fork", run.path, *AT, "--set", "rewards.offset=0.5", "--quiet", "--out", "mine")
    return "mine"


def test_runs_that_do_not_differ(shell: Shell, run: RunDirectory) -> None:
    """Exit status 0; so with a fork without a change."""
    assert shell.fine("diff", run.path, run.path) == "No envelope differs.\n"
    shell.fine("fork", run.path, *AT, "--quiet", "--out", "mine")
    assert shell.fine("diff", run.path, "mine") == "No envelope differs.\n"


def test_runs_that_differ(shell: Shell, run: RunDirectory, fork: str) -> None:
    """The settings, where they part, each user's Len and R_traj, the means; exit status 1."""
    said = shell.billp("diff", run.path, fork)
    assert (said.status, said.err) == (1, "")
    lines = said.out.splitlines()
    assert lines[0] == "setting rewards.offset: 0.0 and 0.5"
    assert lines[1].startswith("They part at episode 3, n ")
    assert ", UserResponded.reward: " in lines[1]
    assert " of 6 visits came out differently." in lines[2]
    assert lines[-1].startswith("On average the other has Len +")


def test_values_are_told_as_they_are(shell: Shell, run: RunDirectory) -> None:
    """Whatever words are in them."""
    words = "Take this: recorded once, got twice."
    shell.fine("fork", run.path, *AT, "--say", f"planner={words}", "--quiet", "--out", "one")
    shell.fine("fork", "one", *AT, "--say", "planner=Else.", "--quiet", "--out", "other")
    told = f"ModelReplied.text: {words!r} and 'Else.'."
    assert told in shell.billp("diff", "one", "other").out


def test_a_narrow_screen_breaks_no_sentence(
    capsys: pytest.CaptureFixture[str], run: RunDirectory, fork: str
) -> None:
    """They can be searched for, line by line."""
    wide = Shell(capsys).billp("diff", run.path, fork).out.splitlines()
    assert Shell(capsys, width=40).billp("diff", run.path, fork).out.splitlines()[:3] == wide[:3]


def test_a_diff_as_json(shell: Shell, run: RunDirectory, fork: str) -> None:
    """All visits, with None where one has no outcome; the exit status is the same."""
    said = shell.billp("diff", run.path, fork, "--json")
    told = facts(said.out)
    assert said.status == 1
    assert told["settings"] == {"rewards.offset": [0.0, 0.5]}
    assert (told["first"]["episode"], told["first"]["field"]) == (3, "reward")
    assert len(told["visits"]) == 6
    same = facts(shell.fine("diff", run.path, run.path, "--json"))
    assert (same["settings"], same["first"]) == ({}, None)


def test_many_changed_visits_are_counted(shell: Shell) -> None:
    """Twenty are shown; --json has them all."""
    recorded(Path("one"), agent="popular", episodes=30)
    recorded(Path("other"), agent="popular", episodes=30, rewards={"offset": -0.1})
    out = shell.billp("diff", "one", "other").out
    assert "30 of 30 visits came out differently." in out
    assert "… and 10 more: --json lists them all" in out


# -- verify


def test_a_whole_run(shell: Shell, run: RunDirectory) -> None:
    """A line for each check, and a verdict."""
    lines = shell.fine("verify", run.path).splitlines()
    assert lines[-1] == f"{run.path} is whole."
    names = ["files", "settings", "environment", "journal", "trace", "prompts", "calls", "memory"]
    names += ["summary", "digest", "manifest"]
    told = [line.split()[:2] for line in lines if line.startswith("✓")]
    assert told == [["✓", name] for name in names]
    assert "by the manifest alone: finish, latency, " in "\n".join(lines)
    assert max(map(len, lines)) <= 80 + len(str(run.path))


def test_a_verification_says_what_it_cannot_know(shell: Shell, run: RunDirectory) -> None:
    *_, first, second, _ = shell.fine("verify", run.path).splitlines()
    assert first.startswith("No checksum tells who made it: ")
    assert "Compare digest and manifest" in second


def test_a_damaged_run(shell: Shell, spoilt: RunDirectory) -> None:
    """Exit status 1, and the fault stands at its check; the others are told as well."""
    said = shell.billp("verify", spoilt.path)
    assert (said.status, said.err) == (1, "")
    lines = said.out.splitlines()
    faults = [line for line in lines if line.startswith("✗")]
    assert faults[0].startswith("✗ files        spoilt: 'calls.jsonl' was altered")
    assert faults[1].startswith("✗ trace        spoilt/trace.jsonl:")
    assert faults[1].endswith("call at step 0 is not in the journal")
    assert sum(line.startswith("✓") for line in lines) >= 4
    assert lines[-1] == "spoilt is damaged."


def test_a_verification_as_json(shell: Shell, run: RunDirectory, spoilt: RunDirectory) -> None:
    told = facts(shell.fine("verify", run.path, "--json"))
    assert (told["whole"], len(told["checks"])) == (True, 11)
    said = shell.billp("verify", spoilt.path, "--json")
    told = facts(said.out)
    assert (said.status, told["whole"]) == (1, False)
    assert [check["name"] for check in told["checks"] if check["fault"]] == ["files", "trace"]


@pytest.mark.parametrize(
    "words",
    [
        ("fork", "gone", "--at", "0:0"),
        ("diff", "gone", "gone"),
        ("verify", "gone"),
        ("trace", "cat", "gone"),
        ("trace", "stats", "gone"),
        ("trace", "export", "gone", "--parquet", "tables"),
    ],
)
def test_what_is_no_run(words: tuple[str, ...], shell: Shell, here: Path) -> None:
    sentence, hint = shell.refusal(*words)
    assert sentence == "gone: not a run directory"
    assert "billp run" in hint
    assert not list(here.iterdir())


# -- trace


def cat(shell: Shell, run: RunDirectory, *words: str) -> list[bytes]:
    return shell.fine("trace", "cat", run.path, *words).encode().splitlines(keepends=True)


def test_a_trace_is_written_as_it_stands(shell: Shell, run: RunDirectory) -> None:
    assert b"".join(cat(shell, run)) == run.trace.read_bytes()


@pytest.mark.parametrize("episode", [None, 0, 3, 99])
@pytest.mark.parametrize("kind", [None, "ActionTaken", "StateValued", "RunStarted"])
@pytest.mark.parametrize("step", [None, 0, 2])
def test_filters_go_together(
    episode: int | None, kind: str | None, step: int | None, shell: Shell, run: RunDirectory
) -> None:
    """What is of that episode, and of that type, and of that step; maybe nothing."""
    named = {"--episode": episode, "--type": kind, "--step": step}
    words = [str(w) for name, v in named.items() if v is not None for w in (name, v)]
    expected = [
        line
        for line, envelope in zip(lines_of(run), trace_of(run), strict=True)
        if episode in {None, envelope.episode}
        and kind in {None, type(envelope.message).__name__}
        and step in {None, getattr(envelope.message, "step", None)}
    ]
    assert cat(shell, run, *words) == expected


def test_a_quoted_message_is_not_taken_for_one(shell: Shell, run: RunDirectory) -> None:
    """A model may say what it likes."""
    words = '"message":{"type":"ActionTaken"}'
    shell.fine("fork", run.path, *AT, "--say", f"planner={words}", "--quiet", "--out", "mine")
    fork = RunDirectory(Path("mine"))
    assert words in {reply.text for reply in only(trace_of(fork), ModelReplied)}
    found = cat(shell, fork, "--type", "ActionTaken")
    assert len(found) == len(only(trace_of(fork), ActionTaken))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("PlanMad", "did you mean PlanMade?"), ("actiontaken", "did you mean ActionTaken?")],
)
def test_an_unknown_type(name: str, hint: str, shell: Shell, run: RunDirectory) -> None:
    told = shell.refusal("trace", "cat", run.path, "--type", name)
    assert told == (f"there is no message type {name!r}", hint)


def test_a_type_like_none(shell: Shell, run: RunDirectory) -> None:
    """All are listed: those of the vocabulary."""
    _, hint = shell.refusal("trace", "cat", run.path, "--type", "???")
    assert hint == f"there are {', '.join(kind.__name__ for kind in get_args(Message))}"


def test_statistics_add_up(shell: Shell, run: RunDirectory) -> None:
    """To the lines and the bytes of the file."""
    told = facts(shell.fine("trace", "stats", run.path, "--json"))
    lines = lines_of(run)
    assert told["total"] == {"count": len(lines), "bytes": run.trace.stat().st_size}
    counts = Counter(type(envelope.message).__name__ for envelope in trace_of(run))
    assert {kind: row["count"] for kind, row in told["types"].items()} == counts
    assert sum(row["bytes"] for row in told["types"].values()) == told["total"]["bytes"]


def test_statistics_as_a_table(shell: Shell, run: RunDirectory) -> None:
    """What takes most stands first, what it comes to last."""
    out = shell.fine("trace", "stats", run.path)
    assert out.index("ActionTaken") < out.index("PlanMade") < out.index("RunEnded")
    assert f"{len(lines_of(run)):,}" in out.splitlines()[-2]
    assert f"{run.trace.stat().st_size:,}" in out.splitlines()[-2]


def test_an_export_names_its_tables(shell: Shell, run: RunDirectory) -> None:
    """With the rows of each, as they can be read back."""
    lines = shell.fine("trace", "export", run.path, "--parquet", "tables").splitlines()
    told = dict(line.split(": ") for line in lines)
    assert {Path(path) for path in told} == set(Path("tables").iterdir())
    assert all(counted(pl.read_parquet(path).height, "row") == rows for path, rows in told.items())


def test_an_export_spares_what_is_there(shell: Shell, run: RunDirectory, here: Path) -> None:
    (here / "tables").mkdir()
    (here / "tables" / "mine").touch()
    was = tree(here)
    sentence, hint = shell.refusal("trace", "export", run.path, "--parquet", "tables")
    assert sentence == "tables: exists and is not empty"
    assert hint == "choose another directory"
    assert tree(here) == was


def test_who_listens_may_leave(here: Path) -> None:
    """A pipe that is closed at its other end is no error to tell of."""
    big = recorded(here / "big", episodes=40)
    assert big.trace.stat().st_size > 1 << 18  # more than pipes hold
    billp = shlex.join([sys.executable, "-c", "from sim.cli import main; main()"])
    command = f"{billp} trace cat big | head -1"
    root = Path(__file__).parents[3]
    said = subprocess.run(
        command, shell=True, capture_output=True, check=True, env={"PYTHONPATH": str(root)}
    )
    assert said.stdout == lines_of(big)[0]
    assert said.stderr == b""
