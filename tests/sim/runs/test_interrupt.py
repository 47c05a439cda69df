"""What stops a run: Ctrl-C, SIGTERM, a key that is refused. All that was done is on disk."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from agents.models.serving.faults import Faults
from agents.models.serving.latency import Latency
from agents.models.serving.server import Behaviour
from engine.messages import RunStarted
from sim.runs.replay import replay
from sim.runs.resume import resume
from storage.journal import read_journal
from storage.runs import RunDirectory
from storage.traces import read_trace
from tests.support.dying import living, typed
from tests.support.served import PROBES
from tests.support.shell import Said, Shell, serving

BILLP = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.argv[-1] == "without uvloop":
    sys.argv.pop()
    sys.modules["uvloop"] = None
from sim.cli import main
main()
"""
SLOW = Behaviour(latency=Latency(0.1))
PATIENCE = 20.0  # seconds, for a machine that is busy


@dataclass
class Counted:
    """The embedded model, which says when it was asked often enough to have replied."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)
    calls: int = 0
    enough: threading.Event = field(default_factory=threading.Event)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.calls += 1
        if self.calls == 40:  # of which no more than 16 are in flight
            self.enough.set()
        return await self.model.reply(request)


@dataclass(frozen=True)
class Stopped:
    """A run that was stopped in the middle."""

    said: Said
    directory: RunDirectory


def stopped(out: Path, number: signal.Signals, *how: str) -> Stopped:
    """Run in a process of its own and send it a signal once some calls have ended."""
    model = Counted()
    with serving(model, SLOW) as url:
        remote = ["--model", "openai/embedded", "--base-url", url, "--episodes", "20"]
        work = partial(told, how, out.parent, ["run", *remote, "--out", str(out)])
        with living(work, out) as process:
            model.enough.wait(PATIENCE)
            process.send(number)
            return Stopped(process.ended(), RunDirectory(out))


def told(how: Sequence[str], here: Path, words: Sequence[str]) -> None:
    """Be the command line, told *how* by who started it."""
    os.environ.pop("FORCE_COLOR", None)
    if "in the background" in how:  # such a program is deaf to it
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "without uvloop" in how:
        pytest.MonkeyPatch().setitem(sys.modules, "uvloop", None)
    typed(here, words)


@pytest.fixture(
    scope="module",
    params=[
        (signal.SIGINT,),
        (signal.SIGINT, "without uvloop"),
        (signal.SIGTERM,),
        (signal.SIGTERM, "without uvloop"),
        (signal.SIGTERM, "in the background"),
        (signal.SIGHUP,),
        (signal.SIGHUP, "without uvloop"),
    ],
    ids=lambda how: " ".join([how[0].name, *how[1:]]),
)
def interrupted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Stopped:
    return stopped(tmp_path_factory.mktemp("interrupted") / "run", *request.param)


def test_an_interrupted_run_says_how_to_go_on(interrupted: Stopped) -> None:
    """One sentence with the directory, a hint, exit status 130."""
    path = interrupted.directory.path
    assert interrupted.said == Said(
        130,
        "",
        f"billp: interrupted; everything so far is in {path}\n  go on with: billp resume {path}\n",
    )


def test_an_interrupted_run_keeps_its_calls(interrupted: Stopped) -> None:
    """Whole lines, and nothing that failed because the run was stopped."""
    recording = read_journal(interrupted.directory.journal)
    assert not recording.torn
    assert len(recording) >= 40 - 16
    assert all(ended.error is None for ended in recording.values())
    assert b"AttemptFailed" not in interrupted.directory.journal.read_bytes()


def test_an_interrupted_run_keeps_a_sound_trace(interrupted: Stopped) -> None:
    """Whole lines from the head on, and no episode that failed because the run was stopped."""
    trace = interrupted.directory.trace
    assert trace.read_bytes().endswith(b"\n")
    messages = [envelope.message for envelope in read_trace(trace)]
    assert isinstance(messages[0], RunStarted)
    assert not {"EpisodeFailed", "ModelFailed", "RunEnded"} & {type(m).__name__ for m in messages}


def test_an_interrupted_run_is_not_taken_for_a_finished_one(interrupted: Stopped) -> None:
    """No summary, no memories; but the configuration, to go on with; and nobody holds the lock."""
    directory = interrupted.directory
    assert not directory.summary.exists()
    assert not directory.memory.exists()
    assert directory.read_config()["episodes"] == 20
    with directory.locked():
        pass


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Stopped:
    """A run whose key is refused from the 31st call on."""
    directory = RunDirectory(tmp_path / "run")
    with serving(behaviour=Behaviour(faults=Faults(refuse_after=30))) as url:
        remote = ("--model", "openai/embedded", "--base-url", url, "--episodes", "4")
        said = Shell(capsys).billp("run", *remote, "--out", directory.path)
    return Stopped(said, directory)


def test_a_refused_key_stops_the_run(refused: Stopped) -> None:
    """One sentence, and a hint that names the directory; exit status 2."""
    assert (refused.said.status, refused.said.out) == (2, "")
    sentence, hint = refused.said.err.splitlines()
    assert sentence.endswith("refuses the key with 401")
    assert "OPENAI_API_KEY" in hint
    assert hint.endswith(f"billp resume {refused.directory.path}")


def test_a_refused_key_costs_no_call(refused: Stopped) -> None:
    """Every reply that came is in the journal, and no refusal: those can be asked again."""
    recording = read_journal(refused.directory.journal)
    assert (len(recording), recording.torn) == (30 - PROBES, False)  # and those before the run
    assert all(ended.error is None for ended in recording.values())


def test_a_refused_key_leaves_a_sound_trace(refused: Stopped) -> None:
    messages = [envelope.message for envelope in read_trace(refused.directory.trace)]
    assert isinstance(messages[0], RunStarted)
    assert not {"EpisodeFailed", "ModelFailed", "RunEnded"} & {type(m).__name__ for m in messages}
    assert not refused.directory.summary.exists()


SLEEPING = """
import time

class Sleeping:
    live = True

    def __call__(self, live):
        with open("asleep", "w"):
            pass
        time.sleep(600)
"""


@pytest.mark.parametrize(
    ("count", "loop"),
    [(2, ()), (3, ()), (2, ("without uvloop",))],
    ids=["twice", "three times", "twice without uvloop"],
)
def test_a_second_ctrl_c_ends_a_run_at_once(
    tmp_path: Path, count: int, loop: tuple[str, ...]
) -> None:
    """Even if the loop hangs in a listener; one sentence, files that are whole, and it goes on."""
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    run = ["run", "--episodes", "3", "--out", "run", "--quiet", "--listener", "sleeping:Sleeping"]
    with living(partial(told, loop, tmp_path, run), tmp_path / "run") as process:
        until((tmp_path / "asleep").exists)
        process.send(signal.SIGINT)
        time.sleep(0.2)  # a listener that hangs is left alone by the first
        assert process.process.is_alive()
        for _ in range(count - 1):
            process.send(signal.SIGINT)
        said = process.ended()
    assert said.out == ""
    assert said.status in {130, -signal.SIGINT}  # the third may come when all is said
    assert said.err == (
        "billp: interrupted; everything so far is in run\n  go on with: billp resume run\n"
    )
    directory = RunDirectory(tmp_path / "run")
    assert not directory.summary.exists()
    assert not read_journal(directory.journal).torn
    assert resume(directory.path) is not None
    assert replay(directory.path).agrees


def test_nohup_is_respected(tmp_path: Path) -> None:
    """A run that was told to ignore the end of its terminal goes on."""
    code = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{BILLP}"
    model = Counted()
    with serving(model, SLOW) as url:
        remote = ["--model", "openai/embedded", "--base-url", url, "--episodes", "3"]
        process = subprocess.Popen(
            [sys.executable, "-c", code, "run", *remote, "--out", "run", "--quiet"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
        )
        try:
            until(lambda: model.calls > 3)
            process.send_signal(signal.SIGHUP)
            _, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
    assert (process.returncode, err) == (0, b"")
    assert (tmp_path / "run" / "summary.json").exists()


def until(holds: Callable[[], bool]) -> None:
    """Wait until something *holds*."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
