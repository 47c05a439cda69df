"""`billp show`, `trace` and `memory` of runs that are under way, or were stopped."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.billp.memories import REFLECTIONS
from agents.models.recorded import Ends
from engine.errors import ServiceError
from engine.messages import Envelope, Message, PlanRequested, UserResponded
from sim import Run
from sim.config.layers import configured
from sim.runs.fork import fork
from sim.runs.journaled import Visitor
from sim.runs.replay import prompt_of
from sim.runs.resume import resume
from sim.runs.run import run
from storage.journal import CallEnded, read_journal
from storage.memory import Memory
from storage.runs import RunDirectory
from storage.traces import read_episode
from tests.support.shell import Shell, tree
from tests.support.small import Counted, recorded, synthetic
from tests.support.underway import EPISODES, HEARD, underway

OPEN, WAITING = 2, 4
"""An episode that is under way, and one that has not begun."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDirectory]:
    path = tmp_path_factory.mktemp("live") / "live"
    with underway(path):
        yield RunDirectory(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Give the same run with a service that answers."""
    path = tmp_path_factory.mktemp("whole") / "whole"
    run(configured(EPISODES), out=path)
    return RunDirectory(path)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def listed(shell: Shell, *words: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.json.decode(shell.fine("show", *words, "--json"))[
        "visits"
    ]
    return found


def visitor(whole: RunDirectory, episode: int) -> Visitor:
    started: Any = read_episode(whole.trace, episode)[0].message
    return started.user, started.session


def is_part(some: list[Message], of: list[Message]) -> bool:
    """Tell whether *some* messages are among those *of* an episode, in their order."""
    rest = iter(of)
    return all(one in rest for one in some)


# -- the list


def test_a_run_under_way_is_listed(shell: Shell, live: RunDirectory, whole: RunDirectory) -> None:
    """What ended as the trace has it, what has begun as the journal has it, by its true number."""
    page = shell.fine("show", live.path)
    assert page.startswith(f"{live.path} is under way: a process writes to it.\n")
    assert "Visits: 2 finished, 2 running, 2 waiting.\n" in page
    rows = listed(shell, live.path)
    assert [(one["episode"], one["state"]) for one in rows] == [
        *((n, "finished") for n in (0, 1)),
        *((n, "running") for n in (2, 3)),
    ]
    assert rows[:2] == listed(shell, whole.path)[:2]
    assert [(one["user"], one["session"]) for one in rows] == [visitor(whole, n) for n in range(4)]
    assert {(one["length"], one["reward"]) for one in rows[2:]} == {(1, None)}


def test_visits_to_come_are_listed_for_their_user(
    shell: Shell, live: RunDirectory, whole: RunDirectory
) -> None:
    user, session = visitor(whole, WAITING)
    (row,) = listed(shell, live.path, "--user", str(user))
    assert (row["episode"], row["session"], row["state"]) == (WAITING, session, "waiting")


def test_reading_leaves_a_run_as_it_is(shell: Shell, live: RunDirectory) -> None:
    """Not a byte is written, and nothing is made."""
    before = tree(live.path)
    for words in ([], ["2"], ["2:0"], ["2", "--replayed"], ["2:1", "--prompt", "planner"]):
        shell.fine("show", live.path, *words)
    shell.fine("memory", live.path, "--list", "planner")
    assert tree(live.path) == before


# -- an episode that has not ended


def test_an_open_episode_is_told_by_its_calls(shell: Shell, live: RunDirectory) -> None:
    """Where that is known from, what everybody said, and what is not known."""
    page = shell.fine("show", live.path, str(OPEN))
    assert page.startswith(f"{live.path} is under way: a process writes to it.\n")
    assert "This is what its journal has; --replayed makes it again.\n" in page
    assert "What the user answered is not written yet." in page
    for role in ("critic (state 0)", "planner", "actor", "critic (state 1)"):
        assert f" {role} " in page
    lines = shell.fine("show", live.path, str(OPEN), "--json").splitlines()
    for call in (msgspec.json.decode(line, type=CallEnded) for line in lines):
        assert f" {call.text}"[:20] in page


def test_the_calls_are_those_of_the_journal(
    shell: Shell, live: RunDirectory, whole: RunDirectory
) -> None:
    """As JSON, one a line; of a step its own."""
    lines = shell.fine("show", live.path, str(OPEN), "--json").splitlines()
    calls = [msgspec.json.decode(line, type=CallEnded) for line in lines]
    ends: Ends = read_journal(live.journal)
    own = [end for end in ends.values() if (end.user, end.session) == visitor(whole, OPEN)]
    assert calls == own
    assert len(calls) == HEARD
    assert shell.fine("show", live.path, f"{OPEN}:0", "--json").splitlines() == lines


def test_a_step_tells_replies_in_full(shell: Shell, live: RunDirectory) -> None:
    page = shell.fine("show", live.path, f"{OPEN}:0")
    for ended in read_journal(live.journal).values():
        if ended.identity[0] == listed(shell, live.path)[OPEN]["user"]:
            assert f" {ended.text}" in page
    assert " tokens]" in page


def test_an_open_episode_can_be_made_again(
    shell: Shell, live: RunDirectory, whole: RunDirectory
) -> None:
    """As it is now: what the user answered, and whose reply is awaited; nothing invented."""
    page = shell.fine("show", live.path, str(OPEN), "--replayed")
    assert "Made again from its journal: so far.\n" in page
    assert "The planner's call at step 1 has no reply yet.\n" in page
    lines = shell.fine("show", live.path, str(OPEN), "--replayed", "--json").splitlines()
    made = [msgspec.json.decode(line, type=Envelope[Message]).message for line in lines]
    kinds = [type(message) for message in made]
    assert (kinds.count(UserResponded), kinds.count(PlanRequested)) == (1, 2)
    assert is_part(made, [one.message for one in read_episode(whole.trace, OPEN)])


def test_a_step_that_is_open_can_be_made_again(shell: Shell, live: RunDirectory) -> None:
    page = shell.fine("show", live.path, f"{OPEN}:1", "--replayed")
    assert "value before" in page
    assert "The planner's call at step 1 has no reply yet.\n" in page


def test_what_is_being_asked_can_be_read(
    shell: Shell, live: RunDirectory, whole: RunDirectory
) -> None:
    """The prompt of a call that has no reply, which no file holds."""
    page = shell.fine("show", live.path, f"{OPEN}:1", "--prompt", "planner")
    request = prompt_of(whole.path, (OPEN, 1), "planner")
    assert all(message.content in page for message in request.messages)


def test_what_has_ended_is_shown_as_ever(
    shell: Shell, live: RunDirectory, whole: RunDirectory
) -> None:
    assert shell.fine("show", live.path, "1") == shell.fine("show", whole.path, "1")


@pytest.mark.parametrize("how", [(), ("--replayed",)])
def test_an_episode_that_has_not_begun(
    shell: Shell, live: RunDirectory, how: tuple[str, ...]
) -> None:
    sentence, hint = shell.refusal("show", live.path, str(WAITING), *how)
    assert sentence.startswith(f"the journal has nothing of episode {WAITING}")
    assert hint.startswith("it has not begun, or no call of it has been answered yet")


def test_an_episode_that_never_comes(shell: Shell, live: RunDirectory) -> None:
    """The hint says which do."""
    assert shell.refusal("show", live.path, "6") == ("there is no episode 6", "the run has 0 to 5")
    assert shell.refusal("show", live.path, "6", "--replayed")[0] == "the run has no episode 6"


def test_a_step_that_has_not_come(shell: Shell, live: RunDirectory) -> None:
    sentence, hint = shell.refusal("show", live.path, f"{OPEN}:1")
    assert sentence == "the journal has no call of step 1 of the episode"
    assert hint == "it has calls at the steps 0 to 0"
    sentence, hint = shell.refusal("show", live.path, f"{OPEN}:2", "--replayed")
    assert (sentence, hint) == ("the episode has no step 2", "it has the steps 0 to 1")


# -- trace and memory


def test_the_trace_so_far(shell: Shell, live: RunDirectory) -> None:
    """Its lines as they stand; what is counted is said to be all so far."""
    stands = f"{live.path} is under way: a process writes to it. This is its trace so far.\n"
    said = shell.billp("trace", "cat", live.path)
    assert (said.out.encode(), said.err) == (live.trace.read_bytes(), stands)
    said = shell.billp("trace", "stats", live.path)
    assert (said.status, said.err) == (0, stands)


def test_memories_so_far(shell: Shell, live: RunDirectory, whole: RunDirectory) -> None:
    """Numbers and records of the episodes that ended, at the places that they will have."""
    told = msgspec.json.decode(shell.fine("memory", live.path, "--json"))
    assert (told["episodes"], told["finished"]) == (2, False)
    found = msgspec.json.decode(shell.fine("memory", live.path, "--list", "planner", "--json"))
    log = Memory.load(whole.memory, REFLECTIONS)
    assert [one["says"] for one in found["shown"]] == [log[n].payload.text for n in (0, 1)]
    page = shell.fine("memory", live.path, "--list", "planner")
    assert "this is what its trace tells so far" in page


def test_memories_of_nothing_so_far(shell: Shell, live: RunDirectory, tmp_path: Path) -> None:
    """Where no episode has ended nothing is said of how agents recall."""
    begun = RunDirectory(Path(shutil.copytree(live.path, tmp_path / "run")))
    begun.trace.write_bytes(live.trace.read_bytes().partition(b"\n")[0] + b"\n")
    page = shell.fine("memory", begun.path)
    assert page.startswith("The agent billp, 0 episodes.\nThe run is not finished: ")
    assert "leave no mark" not in page


# -- from Python


def test_python_reads_a_run_under_way(live: RunDirectory, whole: RunDirectory) -> None:
    """Visits as a table, episodes that ended, and one that did not, with what it recalled."""
    found = Run.open(live.path)
    assert found.visits()["state"].to_list() == [
        state for state in ("finished", "running", "waiting") for _ in range(2)
    ]
    assert [episode.number for episode in found.episodes()] == [0, 1]
    open_one, ended = found.replayed(OPEN), Run.open(whole.path).episode(OPEN)
    assert not open_one.whole
    assert found.replayed(1).envelopes == found.episode(1).envelopes
    assert open_one.recollections
    assert all(one in ended.recollections for one in open_one.recollections)


# -- stopped


def test_a_run_that_was_killed(shell: Shell, tmp_path: Path, whole: RunDirectory) -> None:
    """It says so, and how to go on; whoever looked changed nothing of what comes out."""
    killed = RunDirectory(tmp_path / "run")
    with underway(killed.path) as process:
        process.send(signal.SIGKILL)
        process.ended()
    with killed.journal.open("ab") as file:
        file.write(b'{"type":"CallEnded","user":')  # a line that was not whole
    page = shell.fine("show", killed.path, str(OPEN))
    assert page.startswith(f"{killed.path} was stopped before its end, and no process ")
    assert f"Go on with: billp resume {killed.path}\n" in page
    assert {one["state"] for one in listed(shell, killed.path)} == {"finished", "stopped"}
    shell.fine("show", killed.path, str(OPEN), "--replayed")
    resume(killed.path)
    assert killed.trace.read_bytes() == whole.trace.read_bytes()


def test_a_run_that_was_killed_at_once(shell: Shell, live: RunDirectory, tmp_path: Path) -> None:
    """Nothing is written yet, and each command says so in its way."""
    begun = RunDirectory(tmp_path / "run")
    begun.path.mkdir()
    shutil.copy(live.config, begun.config)
    assert "Visits: 6 waiting.\n" in shell.fine("show", begun.path)
    sentence, _ = shell.refusal("show", begun.path, "0")
    assert sentence.startswith("the journal has nothing of episode 0")
    assert shell.refusal("trace", "stats", begun.path)[0] == f"{begun.trace}: the trace is empty"
    assert shell.refusal("memory", begun.path)[0].startswith(f"{begun.path}: nothing is written")
    assert [*Run.open(begun.path).episodes()] == []


@pytest.mark.parametrize("last", [3, 25, 50])
def test_what_is_made_again_is_what_happened(last: int, tmp_path: Path) -> None:
    """Wherever a run was stopped: nothing else, and nothing in another order."""
    whole = recorded(tmp_path / "whole")
    with pytest.raises(ServiceError):
        recorded(tmp_path / "stopped", Counted(last=last))
    stopped = Run.open(tmp_path / "stopped")
    begun = stopped.visits().filter(state="stopped")["episode"].to_list()
    assert begun
    for number in begun:
        some = stopped.replayed(number).messages
        assert is_part([*some], [one.message for one in read_episode(whole.trace, number)])


def test_a_fork_that_was_stopped_is_made_again_from_its_own(tmp_path: Path) -> None:
    """With its parent's replies up to the fork; what only the parent asked has not begun."""
    parent = recorded(tmp_path / "parent")
    how: dict[str, Any] = {"at": (2, 1), "settings": [{"planner": {"taste": False}}]}
    fork(parent.path, **how, out=tmp_path / "whole", environment=synthetic())
    with pytest.raises(ServiceError):
        fork(
            parent.path,
            **how,
            out=tmp_path / "stopped",
            environment=synthetic(),
            model=Counted(last=6),
        )
    stopped = Run.open(tmp_path / "stopped")
    begun = stopped.visits().filter(state="stopped")["episode"].to_list()
    assert {*begun} < {*range(2, 6)}
    for number in begun:
        some, whole = stopped.replayed(number), Run.open(tmp_path / "whole").episode(number)
        assert is_part([*some.messages], [*whole.messages])


def test_where_users_come_back_only_a_replay_knows_numbers(shell: Shell, tmp_path: Path) -> None:
    """Open visits are listed without; what is made again has the number that it will have."""
    path = tmp_path / "run"
    how: dict[str, Any] = {"sessions": 2, "arrivals": "all"}
    whole = recorded(tmp_path / "whole", **how)
    with pytest.raises(ServiceError):
        recorded(path, Counted(last=40), **how)
    page = shell.fine("show", path)
    assert "Numbers of open visits are not known" in page
    (number, *_) = (one.number for one in Run.open(tmp_path / "whole").episodes())
    sentence, hint = shell.refusal("show", path, "11")
    assert sentence.startswith("episode 11 is not written yet, and users come back")
    assert "--replayed" in hint
    some = Run.open(path).replayed(number).messages
    assert is_part([*some], [one.message for one in read_episode(whole.trace, number)])
