"""Who watches a run may let it pause, stop it and bound it: none of it can be seen in the trace."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine.errors import ConfigError, InterruptedRunError
from engine.messages import UserResponded
from sim.config.layers import configured
from sim.library.run import Run
from sim.runs.controls import Change, Controls
from sim.runs.resume import resume
from sim.runs.run import run
from sim.runs.watching import Underway
from tests.support.small import SMALL, Counted

CONFIG = configured(SMALL, {"concurrency": 4})


@dataclass(eq=False)
class Meddler:
    """Pauses now and then, and lets other limits hold; *stop* stops after so many responses."""

    stop: int = 1 << 60
    heard: int = 0
    paused: list[int] = field(default_factory=list)
    model: Counted = field(default_factory=Counted)
    _controls: Controls = field(init=False)
    _more: anyio.Event = field(default_factory=anyio.Event)

    def attach(self, underway: Underway) -> None:
        self._controls = Controls(underway)
        underway.assembly.bus.listen(UserResponded, self._hear)

    def _hear(self, _: Any) -> None:
        self.heard += 1
        if self.heard == self.stop:
            self._controls.stop()
        elif self.heard % 3 == 0:
            self._controls.pause()
            self._controls.change(Change(in_flight=1 + self.heard % 4, requests_per_minute=1e6))
            self._more.set()

    async def show(self) -> None:
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            await anyio.sleep(0.002)  # whatever is in flight ends
            asked = len(self.model.asked)
            await anyio.sleep(0.002)
            self.paused.append(len(self.model.asked) - asked)
            self._controls.go_on()


def test_pauses_and_limits_leave_no_mark(tmp_path: Path) -> None:
    """While a run is paused nobody is asked; its digest is that of a run left alone."""
    alone = run(CONFIG, out=tmp_path / "alone")
    meddler = Meddler()
    watched = run(CONFIG, out=tmp_path / "watched", views=[meddler], model=meddler.model)
    assert watched.digest == alone.digest
    assert len(meddler.paused) > 1
    assert set(meddler.paused) == {0}


def test_a_run_that_was_stopped_goes_on_to_the_same_end(tmp_path: Path) -> None:
    alone = run(CONFIG, out=tmp_path / "alone")
    with pytest.raises(InterruptedRunError, match="stopped by who watched it") as stopped:
        run(CONFIG, out=tmp_path / "stopped", views=[Meddler(stop=7)])
    assert "billp resume" in stopped.value.hint
    resume(tmp_path / "stopped")
    assert Run.open(tmp_path / "stopped").digest == alone.digest


@dataclass(eq=False)
class Changer:
    """Lets a *change* hold at the first response, and keeps what is wrong with it."""

    change: Change
    wrong: ConfigError | None = None
    _controls: Controls = field(init=False)

    def attach(self, underway: Underway) -> None:
        self._controls = Controls(underway)
        underway.assembly.bus.listen(UserResponded, self._hear)

    def _hear(self, _: Any) -> None:
        try:
            self._controls.change(self.change)
        except ConfigError as error:
            self.wrong = error

    async def show(self) -> None:
        await anyio.sleep_forever()


@pytest.mark.parametrize(
    "change",
    [
        Change(in_flight=0),
        Change(in_flight=5),
        Change(requests_per_minute=-1.0),
        Change(max_cost=float("nan")),
        Change(max_cost=1.0),
    ],
)
def test_what_cannot_hold_is_said_and_changes_nothing(tmp_path: Path, change: Change) -> None:
    changer = Changer(change)
    assert run(CONFIG, out=tmp_path / "run", views=[changer]).all_episodes == SMALL["episodes"]
    assert changer.wrong is not None


def test_a_budget_may_be_lowered_while_a_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="calls"):
        run(CONFIG, out=tmp_path / "run", views=[Changer(Change(max_calls=30))])
    resume(tmp_path / "run")
    assert Run.open(tmp_path / "run").summary.all_episodes == SMALL["episodes"]
