"""Episodes evaluated by other processes: nothing that comes of a run tells of it."""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from engine.errors import CallFailedError, DataError, ServiceError
from engine.listeners import Live
from engine.messages import ActionTaken, HandlerFailed
from sim.config.layers import configured
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.runs.run import run
from sim.runs.workers import ways
from storage.journal import Identity, identity, read_journal
from storage.runs import RunDirectory
from tests.support.dying import SMALL
from tests.support.encounters import small_world
from tests.support.outside.grumbler import GRUMBLER, ODD

RETURNING = {"arrivals": "poisson:1", "publication_delay": 20.0, "sessions": 2}


def files(directory: Path) -> dict[str, bytes]:
    """Return all that a run decides: its trace and what it remembers."""
    memory = {path.name: path.read_bytes() for path in (directory / "memory").iterdir()}
    return memory | {"trace": (directory / "trace.jsonl").read_bytes()}


def working() -> list[int]:
    """Return the workers that this process began and that are still there."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return [int(number) for number in found.split() if _is_worker(Path("/proc", number))]


def _is_worker(process: Path) -> bool:
    return b"sim.runs.workers.worker" in (process / "cmdline").read_bytes()


@dataclass
class Counting:
    """The embedded model; it notes what it is asked, and does something *at* the nth call."""

    at: int = 0
    asked: Counter[Identity] = field(default_factory=Counter)
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.asked[identity(request.call)] += 1
        if self.asked.total() == self.at:
            self.act(request)
        return await self.model.reply(request)

    def act(self, request: ChatRequest) -> None:
        """Do it."""


class Killing(Counting):
    """Kills a worker."""

    def act(self, request: ChatRequest) -> None:
        os.kill(working()[-1], signal.SIGKILL)


@dataclass
class Lingering(Killing):
    """Replies to the call at which it killed a worker as soon as there is another one."""

    before: set[int] = field(default_factory=set)

    def act(self, request: ChatRequest) -> None:
        self.before = {*working()}
        super().act(request)

    async def reply(self, request: ChatRequest) -> ChatReply:
        reply = await super().reply(request)
        if self.asked.total() == self.at:
            await asyncio.to_thread(self._see_another)
        return reply

    def _see_another(self) -> None:
        while not {*working()} - self.before:
            time.sleep(0.01)
        time.sleep(0.05)  # the run knows it by now, and it still imports


class Ending(Counting):
    """Cannot go on."""

    def act(self, request: ChatRequest) -> None:
        raise ServiceError("no money is left")


class Failing(Counting):
    """Fails one call for good."""

    def act(self, request: ChatRequest) -> None:
        raise CallFailedError("not that one", kind="refused")


@dataclass
class Heard:
    """A live listener."""

    live: bool = True
    hears: object = ActionTaken | HandlerFailed
    kinds: set[type] = field(default_factory=set)

    def __call__(self, heard: Live[Any]) -> None:
        self.kinds.add(type(heard.message))


@pytest.mark.parametrize("more", [{}, {"arrivals": "all"}, RETURNING], ids=str)
def test_however_many_work_a_run_is_the_same(more: dict[str, object], tmp_path: Path) -> None:
    """Its trace and its memories, byte for byte; and it is replayed like any other."""
    for count in (1, 2):
        config = configured(SMALL, more, {"workers": count})
        run(config, out=tmp_path / str(count))
    assert files(tmp_path / "1") == files(tmp_path / "2")
    assert not replay(tmp_path / "2").differences
    assert not working()


@pytest.mark.parametrize("kind", [Killing, Lingering])
def test_a_worker_that_is_killed_costs_no_reply(kind: type[Killing], tmp_path: Path) -> None:
    """Its episodes are run again elsewhere, and what they had asked is not asked again.

    Nor if the next worker is there before the reply, and has not asked yet.
    """
    run(configured(SMALL), out=tmp_path / "whole")
    model = kind(at=12)
    with capture_logs() as logs:
        run(configured(SMALL, {"workers": 2}), out=tmp_path / "killed", model=model)
    assert [one["event"] for one in logs] == ["a worker died: its episodes are run again"]
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert {*model.asked.values()} == {1}


def test_where_workers_die_again_and_again_the_run_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one sentence, and it can be gone on with."""
    run(configured(SMALL), out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(ways, "_START", "import os; os._exit(3)")
        with pytest.raises(ServiceError, match="3 workers died one after the other"):
            run(configured(SMALL, {"workers": 2}), out=tmp_path / "stopped")
    resume(tmp_path / "stopped")
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


def test_a_worker_that_cannot_be_started_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was asked yet."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ServiceError, match="a worker cannot be started: No such file"):
        run(configured(SMALL, {"workers": 2}), out=tmp_path / "run")


def test_what_stops_a_run_stops_its_workers(tmp_path: Path) -> None:
    """They are gone; what was paid for is not asked again when it goes on."""
    run(configured(SMALL), out=tmp_path / "whole")
    with pytest.raises(ServiceError, match="no money"):
        run(configured(SMALL, {"workers": 2}), out=tmp_path / "ended", model=Ending(at=12))
    assert not working()
    paid = {*read_journal(RunDirectory(tmp_path / "ended").journal)}
    model = Counting()
    resume(tmp_path / "ended", model=model)
    assert not model.asked.keys() & paid
    assert files(tmp_path / "ended") == files(tmp_path / "whole")


def test_handlers_that_fail_in_a_worker_fail_their_episode_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Listeners hear of it as of all else, and the run logs it: workers print nothing."""
    heard = Heard()
    config = configured(SMALL, {"workers": 2})
    with capture_logs() as logs:
        summary = run(config, out=tmp_path / "run", model=Failing(at=1), listeners={"heard": heard})
    assert summary.failed_episodes == 1
    assert heard.kinds == {ActionTaken, HandlerFailed}
    assert [(one["log_level"], one["event"]) for one in logs] == [("warning", "handler failed")]
    assert capfd.readouterr() == ("", "")


TOLD = {
    "aloud": True,
    "huge": str(2**80),
    "mean": repr(ODD["mean"]),
    "said": r"half\ud800",
    "steps": 3,
}


def test_what_a_part_of_others_logs_in_a_worker_is_logged_by_the_run(tmp_path: Path) -> None:
    """With the traceback, which only the worker can make."""
    config = configured(SMALL, {"workers": 2, "episodes": 2})
    with capture_logs() as logs:
        run(config, quit_rule=GRUMBLER, out=tmp_path / "run")
    assert [(one["log_level"], one["event"]) for one in logs] == [("error", "grumbled")] * 2
    for one in logs:
        assert one["exception"].endswith("base 10: 'nobody'")
        assert {name: one[name] for name in TOLD} == TOLD


def test_an_environment_that_workers_cannot_open_is_said(tmp_path: Path) -> None:
    """One that was made in Python has no name by which they would find it."""
    with pytest.raises(DataError, match="finds another environment"):
        run(
            configured(SMALL, {"workers": 2, "users": "all"}),
            out=tmp_path / "run",
            environment=small_world(),
        )
