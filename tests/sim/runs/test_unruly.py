"""Listeners and followers that raise anything, cancel what they can, find what no JSON holds."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.attempt import attempt, name_of, told
from engine.bus import Bus
from engine.errors import LawError, StopAtOnce
from engine.listeners import Live
from engine.messages import EpisodeStarted, Message, PlanRequested, RunEnded, RunStarted
from sim.config.layers import configured
from sim.runs.listeners import Listeners
from sim.runs.replay import replay
from sim.runs.run import run
from tests.support.dying import in_own_process, typed
from tests.support.kernel import Delivery, Kernel, end, visits
from tests.support.shell import Said
from tests.support.small import SMALL, synthetic

UNDISTURBED = Kernel(visits(0, 0)).on(EpisodeStarted, end).run()


class UnsayableError(Exception):
    def __str__(self) -> str:
        raise SystemExit(9)

    __repr__ = __str__


RAISED = [
    SystemExit(7),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopIteration(),
    StopAsyncIteration(),
    asyncio.CancelledError(),
    BaseException("base"),
    BaseExceptionGroup("several", [SystemExit(1), KeyboardInterrupt()]),
    RecursionError(),
    MemoryError(),
    UnsayableError(),
]


def raising(error: BaseException, how: str) -> Callable[[Any], Any]:
    def at_once(_: object) -> None:
        raise error

    async def before_waiting(_: object) -> None:
        raise error

    async def after_waiting(_: object) -> None:
        await asyncio.sleep(0)
        raise error

    return {"at once": at_once, "before": before_waiting, "after": after_waiting}[how]


def cancelling(how: str) -> Callable[[Any], Any]:
    def at_once(_: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def before_waiting(_: object) -> None:
        at_once(None)

    async def after_waiting(_: object) -> None:
        await asyncio.sleep(0)
        at_once(None)
        await asyncio.sleep(0)

    return {"at once": at_once, "before": before_waiting, "after": after_waiting}[how]


def dropped(listener: Callable[[Any], Any], *, live: bool) -> list[str]:
    """Return what is logged of a run that *listener* must not disturb."""
    kernel = Kernel(visits(0, 0)).on(EpisodeStarted, end)
    if live:
        kernel.bus.listen(Message, listener)
    else:
        kernel.bus.follow(Message, listener)
    with capture_logs() as logs:
        assert kernel.run() == UNDISTURBED
    seen = kernel.bus.statistics()
    assert seen.dropped_listeners + seen.dropped_followers == 1
    return [log["event"] for log in logs]


WHEN = ["at once", "before", "after"]


@pytest.mark.parametrize("live", [True, False], ids=["listener", "follower"])
@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_is_raised_hurts_no_run(error: BaseException, when: str, live: bool) -> None:
    """Dropped and said, once; the run is the same to the byte."""
    assert dropped(raising(error, when), live=live) == [
        "listener dropped" if live else "follower dropped"
    ]


@pytest.mark.parametrize("live", [True, False], ids=["listener", "follower"])
@pytest.mark.parametrize("when", WHEN)
def test_who_cancels_itself_hurts_no_run(when: str, live: bool) -> None:
    assert dropped(cancelling(when), live=live) == [
        "listener dropped" if live else "follower dropped"
    ]


def test_a_second_ctrl_c_is_no_error_of_a_listener() -> None:
    """It passes: whoever waits for the listener would wait on."""
    for when in WHEN:
        with pytest.raises(StopAtOnce):
            asyncio.run(attempt(raising(StopAtOnce(), when), None))


async def stubborn(_: object) -> None:
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


def test_who_does_not_let_itself_be_cancelled_holds_no_run() -> None:
    kernel = Kernel().on(EpisodeStarted, end)
    kernel.bus.farewell = 0.0
    kernel.bus.listen(EpisodeStarted, stubborn)
    assert len(kernel.run()) == len(Kernel().on(EpisodeStarted, end).run())


@pytest.mark.parametrize("mine", [False, True], ids=["others", "all"])
def test_who_cancels_others_ends_the_run_honestly(mine: bool) -> None:
    """Beyond protection, but it never looks whole and never hangs."""

    def cancel(_: Live[PlanRequested]) -> None:
        for task in asyncio.all_tasks():
            if mine or task is not asyncio.current_task():
                task.cancel()

    async def wait(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(PlanRequested(step=0))
        await asyncio.Event().wait()

    kernel = Kernel(visits(0, 0)).on(EpisodeStarted, wait)
    kernel.bus.listen(PlanRequested, cancel)
    with capture_logs(), pytest.raises((LawError, asyncio.CancelledError)):
        kernel.run()


@pytest.mark.parametrize("part", ["Release.run", "Ear.run", "_watch"])
def test_a_run_does_not_wait_for_a_task_that_somebody_cancelled(part: str) -> None:
    """It would wait for ever for the release of an episode."""

    def cancel(_: Live[PlanRequested]) -> None:
        me = asyncio.current_task()
        for task in asyncio.all_tasks() - {me}:
            inner: Any = task.get_coro()
            while inner is not None and part not in getattr(inner, "__qualname__", ""):
                inner = getattr(inner, "cr_await", None)
            if inner is not None:
                task.cancel()

    async def slow(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(PlanRequested(step=0))
        for _ in range(20):
            await asyncio.sleep(0)
        await end(delivery)

    kernel = Kernel(visits(0, 0)).on(EpisodeStarted, slow)
    kernel.bus.listen(PlanRequested, cancel)
    kernel.bus.listen(RunEnded, lambda _: None)
    with capture_logs(), pytest.raises(LawError, match="cancelled, but not by the run"):
        kernel.run()


def test_an_error_that_cannot_be_told_is_told_of() -> None:
    assert told(UnsayableError()) == "UnsayableError: it cannot be told"
    assert told(ValueError("why")) == "ValueError: why"


class Elusive:
    """Has no attribute that can be asked for."""

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(name)

    def __call__(self, _: object) -> None:
        """Hear nothing."""


def test_who_has_no_name_is_called_by_its_class() -> None:
    assert name_of(Elusive()) == "Elusive"


# -- as listeners of a run


class Base:
    def __call__(self, _: object) -> None:
        """Hear nothing."""


class HearsRaises(Base):
    @property
    def hears(self) -> type:
        raise SystemExit(3)


class LiveRaises(Base):
    @property
    def live(self) -> bool:
        raise KeyboardInterrupt


def circular() -> Any:
    found: list[Any] = []
    found.append(found)
    return found


def deep(depth: int) -> Any:
    found: Any = 0
    for _ in range(depth):
        found = [found]
    return found


def exit_now() -> Any:
    raise SystemExit(4)


def unsayable() -> Any:
    raise UnsayableError


RESULTS: dict[str, Callable[[], Any]] = {
    "exit": exit_now,
    "unsayable": unsayable,
    "nan": lambda: {"x": [float("nan")]},
    "infinite": lambda: float("-inf"),
    "circular": circular,
    "deep": lambda: deep(101),
    "very deep": lambda: deep(100_000),
    "torn": lambda: "\ud800",
    "object": object,
    "large": lambda: "x" * 10_000_001,
    "huge number": lambda: 1 << 20_000,
}


class Finding(Base):
    def __init__(self, name: str) -> None:
        self.name = name

    def result(self) -> Any:
        return RESULTS[self.name]()


class ResultRaises(Base):
    @property
    def result(self) -> Any:
        raise GeneratorExit


def heard(listener: Any) -> tuple[Any, list[str]]:
    """Return what an extension found on a run without episodes, and what is logged."""
    head = RunStarted(schema=1, agent="a", model="m", environment="e", seed=0, settings=())
    listeners = Listeners({"it": listener})

    async def main() -> None:
        bus: Bus[None] = Bus()
        listeners.attach(bus)
        await bus.open(head)
        await bus.close(RunEnded(episodes=0, failed=0), 0)

    with capture_logs() as logs:
        asyncio.run(main())
        found = listeners.results()
    return found.get("it"), [log["event"] for log in logs]


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_that_no_json_holds_is_said(name: str) -> None:
    found, events = heard(Finding(name))
    assert [*found] == ["error"]
    assert events == ["listener without result"]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("kind", [HearsRaises, LiveRaises, Elusive])
def test_attributes_that_raise_are_said(kind: type) -> None:
    assert heard(kind())[1][0] == "listener dropped"


def test_a_result_that_cannot_be_asked_for_is_said() -> None:
    assert heard(ResultRaises()) == ({"error": "GeneratorExit: "}, ["listener without result"])


def test_a_result_as_deep_as_can_be_comes_into_the_summary(tmp_path: Path) -> None:
    found = deep(99)

    class Deep(Base):
        def result(self) -> Any:
            return found

    config = configured(SMALL, {"episodes": 1})
    deepest = Listeners({"deep": Deep()})
    summary = run(config, out=tmp_path / "run", environment=synthetic(), listeners=deepest)
    assert summary.listeners == {"deep": found}
    replay(tmp_path / "run", environment=synthetic(), listeners=deepest)


UNRULY = """
import asyncio
class Exits:
    def __call__(self, _): raise SystemExit(7)
    def result(self): raise SystemExit(8)
class Interrupts:
    live = True
    async def __call__(self, _): raise KeyboardInterrupt
class CancelsItself:
    async def __call__(self, _): asyncio.current_task().cancel(); await asyncio.sleep(0)
class CancelsAll:
    live = True
    def __call__(self, _): [task.cancel() for task in asyncio.all_tasks()]
"""


def billp(here: Path, *listeners: str, uvloop: bool) -> Said:
    (here / "unruly.py").write_text(UNRULY)
    words = [word for name in listeners for word in ("--listener", f"unruly:{name}")]
    command = ["run", "--episodes", "2", "--out", "run", "--json", *words]
    return in_own_process(partial(told_to, here, command, uvloop), here / "run")


def told_to(here: Path, words: Sequence[str], uvloop: bool) -> None:
    """Be the command line, with or without uvloop."""
    if not uvloop:
        pytest.MonkeyPatch().setitem(sys.modules, "uvloop", None)
    typed(here, words)


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
def test_a_run_with_unruly_listeners_ends_well(tmp_path: Path, uvloop: bool) -> None:
    """Exit status 0, and each of them is told of."""
    said = billp(tmp_path, "Exits", "Interrupts", "CancelsItself", uvloop=uvloop)
    assert said.status == 0, said
    assert json.loads(said.out)["listeners"] == {"unruly:Exits": {"error": "SystemExit: 8"}}
    assert said.err.count("dropped ") == 3


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
def test_a_listener_that_cancels_all_ends_the_run_in_a_sentence(
    tmp_path: Path, uvloop: bool
) -> None:
    said = billp(tmp_path, "CancelsAll", uvloop=uvloop)
    assert (said.status, said.out) == (1, ""), said
    assert said.err.splitlines()[-1].startswith("billp: ")
    assert "cancelled, but not by the run" in said.err
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_listener_that_cannot_be_complained_of_ends_no_run(tmp_path: Path) -> None:
    """Used as a library, nobody has said where logs go: to an output that may be closed."""
    script = tmp_path / "closed.py"
    script.write_text(
        "import os\n"
        "from sim import RunConfig, run\n"
        "class Bad:\n"
        "    live = True\n"
        "    def __call__(self, heard):\n"
        "        raise ValueError\n"
        "os.close(1)\n"
        "run(RunConfig(episodes=1, limit=2), out='run', listeners={'bad': Bad()})\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.json").exists()
