"""What access to models took, and who did not hear all: it stands in the summary."""

from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec
import pytest
import structlog

from engine.errors import BudgetError
from engine.listeners import Live
from engine.messages import Envelope, Message
from sim.config.layers import configured
from sim.metrics.summary import read_summary
from sim.metrics.toll import Toll
from sim.runs.listeners import Listener
from sim.runs.resume import resume
from sim.runs.run import run
from sim.runs.watching import Underway
from storage.runs import open_run
from tests.support.small import SMALL, Refusing

CONFIG = configured(SMALL)


def limitless(toll: Toll) -> Toll:
    """Return a toll without what depends on real time."""
    return msgspec.structs.replace(toll, wait_seconds=0.0, pause_seconds=0.0, concurrency=0)


def test_a_calm_run_has_paid_nothing_but_attempts(tmp_path: Path) -> None:
    summary = run(CONFIG, out=tmp_path / "run")
    assert limitless(summary.access) == Toll(attempts=summary.calls)
    assert summary.access.concurrency == CONFIG.concurrency


def test_attempts_that_failed_are_told_by_kind(tmp_path: Path) -> None:
    """Also where all calls got their reply in the end: much may have gone wrong before."""
    model = Refusing()
    summary, refused = run(CONFIG, out=tmp_path / "run", model=model), len(model.refused)
    expected = Toll(
        attempts=summary.calls + refused, failed={"rate_limit": refused}, retries=refused
    )
    assert (limitless(summary.access), summary.failed_calls) == (expected, 0)
    assert read_summary(open_run(tmp_path / "run")).access == summary.access


def test_calls_that_failed_at_once_are_no_retries(tmp_path: Path) -> None:
    """They are given up: nothing follows."""
    summary = run(CONFIG, out=tmp_path / "run", model=Refusing(never=1))
    toll, failed = summary.access, summary.failed_calls
    assert (toll.failed["refused"], toll.given_up) == (failed, failed)
    assert toll.retries == toll.failed["rate_limit"]
    assert toll.attempts == summary.calls + toll.retries


@pytest.mark.parametrize("never", [None, 1])
def test_a_resumed_run_tells_of_all_its_processes(tmp_path: Path, never: int | None) -> None:
    """What earlier ones did is in the journal."""
    whole = run(CONFIG, out=tmp_path / "whole", model=Refusing(never=never))
    model = Refusing(never=never)
    with pytest.raises(BudgetError):
        run(msgspec.structs.replace(CONFIG, max_calls=40), out=tmp_path / "run", model=model)
    summary = resume(tmp_path / "run", settings=[{"max_calls": 0}], model=model)
    assert summary is not None
    assert summary.digest == whole.digest
    assert limitless(summary.access) == limitless(whole.access)


# -- who did not hear all


@dataclass
class Tired:
    """A follower that has enough after three messages."""

    live: bool = False
    heard: int = 0

    def __call__(self, _: Envelope[Message]) -> None:
        self.heard += 1
        if self.heard == 3:
            raise ValueError("I am\ntired")


class Slow:
    """A view that holds one message at most and takes its time."""

    def attach(self, underway: Underway) -> None:
        underway.assembly.bus.listen(Message, self._wait, capacity=1)

    def _wait(self, _: Live[object]) -> Awaitable[None]:
        return anyio.sleep(0.05)

    async def show(self) -> None:
        await anyio.sleep_forever()


class Broken(Slow):
    """A view that cannot be shown."""

    def attach(self, underway: Underway) -> None:
        raise LookupError(underway.config.agent)


def test_who_was_dropped_is_told_by_name_and_why(tmp_path: Path) -> None:
    """In one line each, under the name that the user gave."""
    listeners: dict[str, Listener] = {"mine": Tired(), "live": Tired(live=True)}
    summary = run(CONFIG, out=tmp_path / "run", listeners=listeners, views=[Broken()])
    why = "ValueError: I am tired"
    assert summary.dropped == {"mine": why, "live": why, "Broken": "LookupError: billp"}
    assert read_summary(open_run(tmp_path / "run")).dropped == summary.dropped


def test_a_traceback_shows_no_variables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is configured, as in a notebook: those of a run are a whole world."""
    structlog.reset_defaults()
    run(CONFIG, out=tmp_path / "run", views=[Broken()])
    said = capsys.readouterr().out
    assert said.endswith("LookupError: billp\n")
    assert len(said.splitlines()) < 20


def test_who_missed_messages_is_told(tmp_path: Path) -> None:
    """A view is known by its class; it is not dropped."""
    summary = run(CONFIG, out=tmp_path / "run", views=[Slow()])
    assert [*summary.missed] == ["Slow"]
    assert 0 < summary.missed["Slow"] < summary.messages
    assert summary.dropped == {}
