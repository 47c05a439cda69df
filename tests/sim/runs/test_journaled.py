"""What a journal tells of visits: calls as they ended, and what is tried again."""

from pathlib import Path

from agents.roster import AGENTS
from sim.runs.fork import fork
from sim.runs.journaled import VisitCalls, read_calls
from storage.journal import Entry, Journal, RetryStarted
from storage.runs import RunDirectory
from tests.storage.test_journal import ended, failed_attempt
from tests.support.small import recorded

VISITOR = (3, 0)


def written(path: Path, *entries: Entry) -> Path:
    journal = Journal(path)
    for entry in entries:
        journal.append(entry)
    journal.close()
    return path


def calls(path: Path) -> VisitCalls:
    return read_calls(path, VISITOR.__eq__)[VISITOR]


def test_a_call_that_failed_once_is_tried_until_it_ends(tmp_path: Path) -> None:
    path = written(tmp_path / "calls.jsonl", ended(0), failed_attempt(1))
    assert calls(path) == VisitCalls((ended(0),), (failed_attempt(1),), begun=True)
    path = written(tmp_path / "more.jsonl", failed_attempt(1), ended(1))
    assert calls(path) == VisitCalls((ended(1),), (), begun=True)


def test_what_failed_is_asked_again_after_a_retry(tmp_path: Path) -> None:
    path = written(
        tmp_path / "calls.jsonl",
        ended(0),
        ended(1, None, "server"),
        RetryStarted(),
        failed_attempt(1),
    )
    assert calls(path) == VisitCalls((ended(0),), (failed_attempt(1),), begun=True)


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "calls.jsonl", ended(0))
    with path.open("ab") as file:
        file.write(b'{"type":"CallEnded","user":3')
    assert calls(path).ended == (ended(0),)


def test_without_a_journal_nobody_was_asked(tmp_path: Path) -> None:
    assert read_calls(tmp_path / "calls.jsonl", VISITOR.__eq__) == {}


def test_steps_are_those_at_which_a_step_was_spoken_of(tmp_path: Path) -> None:
    """Not the state behind it, which a critic values."""
    path = written(tmp_path / "calls.jsonl", ended(0), ended(1))
    assert calls(path).steps(AGENTS.named("billp")) == 2


def test_what_a_fork_inherits_has_not_begun(tmp_path: Path) -> None:
    """Its journal holds all that the parent was told, whether it comes to ask that or not."""
    parent = recorded(tmp_path / "parent", episodes=2)
    fork(parent.path, at=(1, 0), out=tmp_path / "fork", settings=[{"quit": {"window": 2}}])
    journal = RunDirectory(tmp_path / "fork").journal
    handed = journal.read_bytes().splitlines(keepends=True)
    first = tmp_path / "first.jsonl"
    first.write_bytes(b"".join(line for line in handed if b'"attempts":1' not in line))
    assert not any(one.begun for one in read_calls(first, lambda _: True).values())
