"""Resuming: nobody is asked twice, and what changed since is said before anything is spent."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from agents.billp import planner
from agents.embeddings import hashed
from agents.models.model import ChatReply, ChatRequest
from agents.models.remote.vectors import ROLE, encoded
from engine.errors import (
    CallFailedError,
    DataError,
    DivergenceError,
    FileError,
    JournalError,
    RunDirectoryError,
    ServiceError,
)
from engine.messages import Envelope, Message
from sim.config.layers import configured, read_config
from sim.runs.listeners import Listeners
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.runs.run import run
from sim.verification.verify import verify
from storage.datasets import generate_environment
from storage.journal import Identity, RetryStarted, read_journal
from storage.prompt_texts import read_prompts
from storage.runs import RunDirectory
from tests.storage.test_files import disk_of
from tests.storage.test_runs import holding
from tests.support.dying import (
    SMALL,
    Death,
    Noted,
    Undisturbed,
    begin,
    check_same,
    go_on,
    journaled,
    undisturbed,
)
from tests.support.shell import tree
from tests.support.spent import Spent

ILL = 5  # every so many calls fail


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return undisturbed(tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture
def model(tmp_path: Path) -> Noted:
    return Noted(tmp_path / "asked")


def stopped(out: Path, calls: int = 20) -> RunDirectory:
    """Return a run that stopped after so many calls."""
    with pytest.raises(ServiceError, match="spent"):
        run(configured(SMALL), out=out, model=Spent(calls))
    return RunDirectory(out)


@pytest.fixture
def unfinished(tmp_path: Path) -> RunDirectory:
    return stopped(tmp_path / "run")


# -- going on


def test_only_what_is_missing_is_asked(
    unfinished: RunDirectory, model: Noted, plain: Undisturbed
) -> None:
    """The summary tells all calls of the run, and which of them were made now."""
    known = journaled(unfinished)
    summary = resume(unfinished.path, model=model)
    assert summary is not None
    assert (summary.calls, summary.live_calls) == (len(plain.calls), len(plain.calls) - len(known))
    assert sorted(model.asked) == sorted(plain.calls.keys() - known)
    check_same(unfinished, plain)


def test_a_run_may_stop_again_and_again(tmp_path: Path, plain: Undisturbed, model: Noted) -> None:
    """Whatever each resume can pay for is done for good."""
    directory = stopped(tmp_path / "run", 1)
    for calls in (0, 1, 5, 10):
        before = len(journaled(directory))
        with pytest.raises(ServiceError):
            resume(directory.path, model=Spent(calls))
        assert len(journaled(directory)) == before + calls
    resume(directory.path, model=model)
    check_same(directory, plain)


def test_a_finished_run_is_left_alone(plain: Undisturbed, model: Noted) -> None:
    """None is returned, nobody is asked, no byte changes."""
    before = tree(plain.directory.path)
    assert resume(plain.directory.path, model=model) is None
    assert tree(plain.directory.path) == before
    assert model.asked == []


def test_a_run_without_a_journal_yet_has_made_no_calls(
    unfinished: RunDirectory, model: Noted, plain: Undisturbed
) -> None:
    """It was killed before its first line: it begins at the beginning."""
    unfinished.journal.unlink()
    unfinished.trace.unlink()
    resume(unfinished.path, model=model)
    assert sorted(model.asked) == sorted(plain.calls)
    check_same(unfinished, plain)


def test_a_lost_journal_is_said(unfinished: RunDirectory, model: Noted) -> None:
    """Where there is a trace there were calls: they are not paid for again unasked."""
    unfinished.journal.unlink()
    with pytest.raises(JournalError, match=r"calls\.jsonl: there is no such journal"):
        resume(unfinished.path, model=model)
    assert model.asked == []


def test_a_lost_trace_is_written_again(
    unfinished: RunDirectory, model: Noted, plain: Undisturbed
) -> None:
    """The journal is enough."""
    known = journaled(unfinished)
    unfinished.trace.unlink()
    resume(unfinished.path, model=model)
    assert sorted(model.asked) == sorted(plain.calls.keys() - known)
    check_same(unfinished, plain)


@pytest.mark.parametrize("name", ["calls.jsonl", "trace.jsonl"])
def test_a_torn_last_line_is_cut_off_and_said(
    name: str, unfinished: RunDirectory, model: Noted, plain: Undisturbed
) -> None:
    path = unfinished.path / name
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b'{"episode":')
    with capture_logs() as logs:
        resume(unfinished.path, model=model)
    told = [log for log in logs if log["event"] == "torn end cut off"]
    assert [(log["path"], log["size"], log["log_level"]) for log in told] == [
        (str(path), size, "warning")
    ]
    check_same(unfinished, plain)


def test_prompts_stand_once_after_all(
    unfinished: RunDirectory, model: Noted, plain: Undisturbed
) -> None:
    """A run that stops of itself writes its prompts first, so none is missing."""
    resume(unfinished.path, model=model)
    kept = [text.request for text in read_prompts(unfinished.prompts)]
    assert sorted(kept) == sorted(plain.calls.values())


# -- followers


@dataclass
class Heard:
    """A follower that keeps what it heard, to the byte."""

    lines: list[bytes] = field(default_factory=list)

    def __call__(self, envelope: Envelope[Message]) -> None:
        self.lines.append(msgspec.json.encode(envelope))

    def result(self) -> list[str]:
        return [line.decode() for line in self.lines]


def test_a_follower_hears_the_whole_run(unfinished: RunDirectory, tmp_path: Path) -> None:
    """Live, over a resumed run and over a replay: the same bytes, from the head on."""
    live, resumed, replayed = Heard(), Heard(), Heard()
    run(configured(SMALL), out=tmp_path / "live", listeners=Listeners({"heard": live}))
    resume(unfinished.path, listeners=Listeners({"heard": resumed}))
    replay(unfinished.path, listeners=Listeners({"heard": replayed}))
    assert live.lines == resumed.lines == replayed.lines
    assert unfinished.read_summary()["listeners"] == {"heard": live.result()}


# -- what changed since


def test_changed_code_is_said_at_once(
    unfinished: RunDirectory, model: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked, nothing is lost: with the old code the run goes on.

    That somebody tried stands in run.toml, as the last process.
    """
    before, settings = tree(unfinished.path), read_config(unfinished.config)
    monkeypatch.setattr(planner, "TASK", planner.TASK + " Be brief.")
    with pytest.raises(DivergenceError, match="does not ask what was recorded") as caught:
        resume(unfinished.path, model=model)
    assert "billp replay" in caught.value.hint
    after = tree(unfinished.path)
    assert model.asked == []
    assert {name for name in before if after[name] != before[name]} == {"run.toml", ".origin"}
    assert (read_config(unfinished.config), after.keys()) == (settings, before.keys())


def test_the_old_code_goes_on(unfinished: RunDirectory, model: Noted, plain: Undisturbed) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "TASK", "You plan recommendations otherwise.")
        with pytest.raises(DivergenceError):
            resume(unfinished.path, model=model)
    resume(unfinished.path, model=model)
    check_same(unfinished, plain)


def test_another_configuration_is_said_at_the_head(unfinished: RunDirectory, model: Noted) -> None:
    """Whoever edits run.toml learns which setting it was."""
    unfinished.write_config({**unfinished.read_config(), "seed": 7})
    with pytest.raises(
        DivergenceError, match=r"trace\.jsonl:1: .*RunStarted\.seed: recorded 0, got 7"
    ):
        resume(unfinished.path, model=model)
    assert model.asked == []


def test_another_environment_is_said(unfinished: RunDirectory, model: Noted) -> None:
    before = tree(unfinished.path)
    with pytest.raises(DataError, match=r"RunStarted\.environment: recorded"):
        resume(unfinished.path, model=model, environment=generate_environment(1))
    assert model.asked == []
    assert tree(unfinished.path) == before


def test_lines_whose_replies_were_lost_are_dropped(unfinished: RunDirectory) -> None:
    """A lost reply may come back otherwise: what was made of the old one goes, and that is said.

    So a machine may die with more of the trace on its disk than of the journal.
    """
    lines = unfinished.journal.read_bytes().splitlines(keepends=True)
    unfinished.journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    with capture_logs() as logs:
        summary = resume(unfinished.path, model=Terse())
    (told,) = [log for log in logs if log["event"].startswith("recorded lines dropped")]
    assert (told["log_level"], told["bytes"] > 0) == ("warning", True)
    assert summary is not None
    assert replay(unfinished.path).differences == ()
    assert [check.fault for check in verify(unfinished.path) if check.fault] == []


class Terse:
    """A model that always says the same."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        return ChatReply(text="4", prompt_tokens=1, completion_tokens=1)


# -- calls that failed


@pytest.fixture
def failed(tmp_path: Path) -> RunDirectory:
    """A finished run in which some calls failed for good."""
    out = tmp_path / "run"
    summary = run(configured(SMALL), out=out, model=Noted(tmp_path / "ill", ill=ILL))
    assert summary.failed_calls > 3
    return RunDirectory(out)


def replies(directory: RunDirectory) -> dict[Identity, str]:
    """Return the requests of the calls that got a reply."""
    ends = read_journal(directory.journal)
    return {known: end.request for known, end in ends.items() if end.error is None}


def test_failed_calls_may_be_asked_again(
    failed: RunDirectory, model: Noted, plain: Undisturbed
) -> None:
    """With a healthy model the run ends as if nothing had ever failed; the journal says so."""
    resume(failed.path, model=model, retry_failed=True)
    check_same(failed, plain)
    assert failed.journal.read_bytes().count(RetryStarted.__name__.encode()) == 1


def test_replies_to_the_same_request_are_kept(
    failed: RunDirectory, model: Noted, plain: Undisturbed
) -> None:
    """Only failed calls, and those whose prompts changed because of them, are asked."""
    kept = dict(replies(failed).items() & plain.calls.items())
    assert kept
    resume(failed.path, model=model, retry_failed=True)
    assert sorted(model.asked) == sorted(plain.calls.keys() - kept.keys())


def test_failed_calls_stay_failed_unless_asked_again(failed: RunDirectory, model: Noted) -> None:
    """A run that stopped goes on with its failures, to the digest of a run that had them all."""
    digest = failed.read_summary()["digest"]
    failed.summary.unlink()
    failed.trace.unlink()
    summary = resume(failed.path, model=model)
    assert summary is not None
    assert (summary.digest, summary.live_calls, model.asked) == (digest, 0, [])


@pytest.mark.parametrize(
    "death",
    [
        Death("calls.jsonl", 1, 0.5),
        Death("calls.jsonl", 1, 1.0),
        Death("calls.jsonl", 2, 0.0),
        Death("calls.jsonl", 5, 0.5),
        Death("calls.jsonl", 9, 1.0),
        Death("trace.jsonl", 4, 0.5),
        Death("memory", 2),
        Death("summary.json"),
    ],
    ids=lambda death: f"{death.file}-{death.count}-{death.part}",
)
def test_a_killed_retry_may_be_asked_for_again(
    death: Death, failed: RunDirectory, model: Noted, plain: Undisturbed
) -> None:
    go_on(failed, model, death, retry=True)
    resume(failed.path, model=model, retry_failed=True)
    check_same(failed, plain)


@pytest.mark.parametrize("count", [2, 3, 5, 8, 12])
def test_a_killed_retry_goes_on(
    count: int, failed: RunDirectory, model: Noted, plain: Undisturbed
) -> None:
    """From the moment it is journaled: what had failed before is asked, not only what was not."""
    go_on(failed, model, Death("calls.jsonl", count, 0.5), retry=True)
    resume(failed.path, model=model)
    check_same(failed, plain)


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_a_retry_that_was_killed_before_it_began_has_not_begun(
    part: float, failed: RunDirectory, model: Noted
) -> None:
    """A plain resume restores the run with its failures."""
    digest = failed.read_summary()["digest"]
    go_on(failed, model, Death("calls.jsonl", 1, part), retry=True)
    summary = resume(failed.path, model=model)
    assert summary is not None
    assert (summary.digest, model.asked) == (digest, [])


def test_what_fails_again_has_failed(failed: RunDirectory, tmp_path: Path) -> None:
    """It is not asked for ever, and the run comes to the same failures."""
    digest = failed.read_summary()["digest"]
    summary = resume(failed.path, model=Noted(tmp_path / "again", ill=ILL), retry_failed=True)
    assert summary is not None
    assert (summary.digest, summary.live_calls) == (digest, summary.failed_calls)
    assert replay(failed.path).agrees


@dataclass
class Embedding(Noted):
    """The same behind a service of embeddings, whose vectors fail as calls do."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.role != ROLE:
            return await super().reply(request)
        if self.ill and request.seed % self.ill == 0:
            raise CallFailedError("no vector", kind="server")
        vector = encoded(hashed((request.messages[0].content,)))
        return ChatReply(text=vector, prompt_tokens=0, completion_tokens=0)


@pytest.mark.parametrize(
    "death",
    [
        Death("calls.jsonl", 1, 1.0),
        Death("calls.jsonl", 5, 0.5),
        Death("vectors.jsonl", 1, 0.5),
        Death("vectors.jsonl", 2, 1.0),
        Death("trace.jsonl", 2, 0.5),
    ],
    ids=lambda death: f"{death.file}-{death.count}-{death.part}",
)
def test_a_killed_retry_goes_on_with_vectors(death: Death, tmp_path: Path) -> None:
    """What had failed before the retry is asked again, whoever dies in between."""
    config, well = configured(SMALL, {"embeddings": "openai/small"}), Embedding(tmp_path / "well")
    digest = run(config, out=tmp_path / "plain", model=well).digest
    out = tmp_path / "run"
    assert run(config, out=out, model=Embedding(tmp_path / "ill", ill=2)).digest != digest
    go_on(RunDirectory(out), well, death, retry=True)
    summary = resume(out, model=well)
    assert summary is not None
    assert summary.digest == digest
    assert not [check for check in verify(out) if check.fault]
    assert replay(out).agrees


def test_a_retry_of_an_unfinished_run_finishes_it(
    tmp_path: Path, model: Noted, plain: Undisturbed
) -> None:
    ill = Noted(tmp_path / "ill", ill=ILL)
    directory = begin(tmp_path / "run", ill, Death("calls.jsonl", 15, 0.5))
    resume(directory.path, model=model, retry_failed=True)
    check_same(directory, plain)


# -- files that cannot be used


def test_a_run_that_another_process_writes_is_left_alone(
    unfinished: RunDirectory, model: Noted
) -> None:
    """Not even read: half a line may be half of what is being written."""
    unfinished.journal.write_bytes(unfinished.journal.read_bytes() + b"half\nof a line")
    before = tree(unfinished.path)
    with (
        holding(unfinished),
        pytest.raises(RunDirectoryError, match=r"run: another process is writing here$"),
    ):
        resume(unfinished.path, model=model)
    assert tree(unfinished.path) == before
    assert model.asked == []


def without_trace(plain: Undisturbed, out: Path) -> RunDirectory:
    """Return a copy of a run whose calls are all journaled, and its trace hardly begun."""
    directory = RunDirectory(shutil.copytree(plain.directory.path, out))
    directory.summary.unlink()
    directory.trace.write_bytes(directory.trace.read_bytes().splitlines(keepends=True)[0])
    return directory


@pytest.mark.parametrize(("name", "room"), [("calls", 100), ("trace", 4_000)])
def test_a_full_disk_stops_a_run_that_can_go_on(
    name: str, room: int, tmp_path: Path, model: Noted, plain: Undisturbed
) -> None:
    """One sentence and the way on; what was written ends with a whole line."""
    out = tmp_path / "run"
    directory = stopped(out) if name == "calls" else without_trace(plain, out)
    size = (directory.path / f"{name}.jsonl").stat().st_size
    with (
        disk_of(size + room),
        pytest.raises(FileError, match=rf"{name}\.jsonl: .*: File too large$") as caught,
    ):
        resume(directory.path, model=model)
    assert caught.value.hint.endswith(f"billp resume {directory.path}")
    assert directory.journal.read_bytes().endswith(b"\n")
    assert directory.trace.read_bytes().endswith(b"\n")
    resume(directory.path, model=model)
    check_same(directory, plain)


@pytest.mark.parametrize("name", ["calls.jsonl", "trace.jsonl"])
def test_what_is_no_file_is_said(
    name: str, unfinished: RunDirectory, model: Noted, plain: Undisturbed
) -> None:
    """And put right, the run goes on."""
    path, aside = unfinished.path / name, unfinished.path / "aside"
    path.rename(aside)
    path.mkdir()
    with pytest.raises(FileError, match=rf"{name}: cannot be .*: Is a directory$"):
        resume(unfinished.path, model=model)
    assert model.asked == []
    path.rmdir()
    aside.rename(path)
    resume(unfinished.path, model=model)
    check_same(unfinished, plain)


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        resume(tmp_path)
