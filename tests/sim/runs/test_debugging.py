"""`billp replay --debug-at`: Python's debugger, in the handlers of one step."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

import agents.billp.planner
from storage.runs import RunDirectory
from tests.support.shell import Said, Shell
from tests.support.small import recorded

STOP = re.compile(r"^> (\S+)\(\d+\)(\w+)\(\)", re.MULTILINE)
BILLP = "from sim.cli import main; main()"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A recorded run; nobody writes to it."""
    return recorded(tmp_path_factory.mktemp("recorded") / "run")


class Debugged:
    """Replays a run while somebody types to the debugger."""

    def __init__(self, run: RunDirectory, shell: Shell, patch: pytest.MonkeyPatch) -> None:
        self._run, self._shell, self._patch = run, shell, patch

    def __call__(self, at: str, *typed: str, words: tuple[str, ...] = ()) -> Said:
        self._patch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in typed)))
        return self._shell.billp("replay", self._run.path, "--debug-at", at, *words)


@pytest.fixture
def debugged(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Debugged:
    return Debugged(run, Shell(capsys), monkeypatch)


def stops(said: Said) -> list[tuple[str, str]]:
    """Return in which modules and functions the debugger stopped."""
    return [(Path(file).name, name) for file, name in STOP.findall(said.out)]


@pytest.mark.parametrize(
    ("role", "place"),
    [
        ("planner", ("planner.py", "plan")),
        ("actor", ("actor.py", "act")),
        ("critic", ("critic.py", "judge")),
        ("Planner", ("planner.py", "plan")),
    ],
)
def test_the_debugger_stops_where_a_handler_begins(
    role: str, place: tuple[str, str], debugged: Debugged
) -> None:
    """In that step of that episode, once, and in nobody else's."""
    said = debugged(f"3:1:{role}", "continue")
    assert stops(said) == [place]
    assert said.status == 0


def test_without_a_role_all_handlers_of_the_step_stop(debugged: Debugged) -> None:
    """Those of the users as well, in the order in which they are called."""
    said = debugged("3:1", *["continue"] * 5)
    assert stops(said) == [
        ("planner.py", "plan"),
        ("actor.py", "act"),
        ("users.py", "respond"),
        ("users.py", "go_on"),
        ("critic.py", "judge"),
    ]


def test_one_can_look_around(debugged: Debugged) -> None:
    """At what the handler got: its message and the trajectory above it; and line by line."""
    said = debugged(
        "3:1:planner",
        "p delivery.number, delivery.message",
        "p delivery.trajectory.length",
        "next",
        "p trajectory is delivery.trajectory",
        "continue",
    )
    assert "(3, PlanRequested(step=1))" in said.out
    assert re.search(r"^\(Pdb\) 1$", said.out, re.MULTILINE)
    assert re.search(r"^\(Pdb\) True$", said.out, re.MULTILINE)


def test_looking_around_leaves_no_mark(debugged: Debugged) -> None:
    """The replay goes on to its end, and all agrees."""
    said = debugged("3:1:actor", "next", "next", "p self", "continue")
    assert "agrees to the byte." in said.out
    assert (said.status, said.err) == (0, "")


@pytest.mark.parametrize("words", [("--episode", "3"), ("--until", "3:1"), ("--concurrency", "1")])
def test_a_part_of_a_run_can_be_debugged(words: tuple[str, ...], debugged: Debugged) -> None:
    """An episode alone stops at once: nothing else is played."""
    said = debugged("3:1:planner", "continue", words=words)
    assert stops(said) == [("planner.py", "plan")]
    assert said.status == 0


def test_what_one_changes_is_found(debugged: Debugged) -> None:
    """The debugger may do anything; the comparison sees it."""
    change = '!object.__setattr__(self, "limit", 2)'
    said = debugged("3:1:users", change, "continue", "continue")
    assert stops(said) == [("users.py", "respond"), ("users.py", "go_on")]
    assert said.status == 1
    assert "differs." in said.out


@pytest.mark.parametrize("typed", [("quit",), ("next", "quit"), ()])
def test_quitting_ends_the_replay(typed: tuple[str, ...], debugged: Debugged) -> None:
    """One sentence and exit status 130: nothing differs, nothing agrees."""
    said = debugged("3:1:planner", *typed)
    assert (said.status, said.err) == (130, "billp: the debugger was left at 3:1\n")
    assert "differs" not in said.out


@pytest.mark.parametrize("at", ["3:99", "99:0", "3:1:planer", "3:1:reflector", "3:99:planner"])
def test_where_nobody_stopped_is_said(at: str, debugged: Debugged) -> None:
    """A slip of the pen would look like a run that agrees; the roles are named."""
    said = debugged(at)
    assert (said.status, said.out) == (2, "")
    sentence, hint = said.err.splitlines()
    assert sentence == f"billp: no handler ran at {at}"
    assert hint == "  the roles are actor, critic, planner, reflector, users"


def test_what_differs_before_is_told(debugged: Debugged, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it never came to the step, and that is why."""
    monkeypatch.setattr(agents.billp.planner.Planner, "plan", _failing)
    said = debugged("3:1:actor")
    assert said.status == 1
    assert said.out.startswith("episode 0, n 2, HandlerFailed.type: recorded 'ModelReplied'")


async def _failing(_planner: object, _delivery: object) -> None:
    raise RuntimeError("changed")


def test_a_policy_has_handlers_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    debugged = Debugged(recorded(tmp_path / "run", agent="popular"), Shell(capsys), monkeypatch)
    assert ("users.py", "respond") in stops(debugged("3:0", *["continue"] * 4))


def test_the_debugger_is_that_of_the_terminal(run: RunDirectory) -> None:
    """In a process of its own, whose standard input and output it takes."""
    done = subprocess.run(
        [sys.executable, "-c", BILLP, "replay", str(run.path), "--debug-at", "3:1:planner"],
        input="p delivery.message\ncontinue\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "PlanRequested(step=1)" in done.stdout
    assert f"{run.path} agrees to the byte." in done.stdout
