"""Where an event loop runs already, as in a notebook: await what is async, or be told to."""

import asyncio
from collections.abc import Callable, Coroutine
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import uvloop

import sim
from engine.errors import ConfigError, ServiceError
from sim.config.layers import configured
from sim.experiments.critique import critique
from sim.runs.replay import prompt_of
from tests.support.small import SMALL, Counted, synthetic

CONFIG = configured(SMALL, {})
CALLS: dict[str, Callable[[Path], object]] = {
    "run": lambda path: sim.run(CONFIG, out=path / "new", environment=synthetic()),
    "replay": lambda path: sim.replay(path / "run"),
    "resume": lambda path: sim.resume(path / "torn"),
    "fork": lambda path: sim.fork(path / "run", (1, 1), out=path / "new"),
    "prompt_of": lambda path: prompt_of(path / "run", (1, 1), "actor"),
    "critique": lambda path: critique(path / "run", 3, 2),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a finished run and one that was stopped."""
    path = tmp_path_factory.mktemp("notebook")
    sim.run(CONFIG, out=path / "run", environment=synthetic())
    with pytest.raises(ServiceError):
        sim.run(CONFIG, out=path / "torn", environment=synthetic(), model=Counted(last=20))
    return path


def within(make: Callable[[], Coroutine[Any, Any, Any]], loop: str) -> Any:
    """Return what comes of *make* in an event loop of the kind called *loop*."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        return runner.run(make())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("name", CALLS)
def test_who_cannot_wait_says_what_can(here: Path, name: str, loop: str) -> None:
    """One sentence and a hint, before anything is written."""

    async def cell() -> None:
        CALLS[name](here)

    before = sorted(here.rglob("*"))
    with pytest.raises(ConfigError, match="an event loop runs here already") as caught:
        within(cell, loop)
    twin = f"await {name}_async(…)" if hasattr(sim, f"{name}_async") else "asyncio.to_thread"
    assert twin in caught.value.hint
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_all_can_be_awaited(here: Path, tmp_path: Path, loop: str) -> None:
    """And they come to the same, one after the other or at once, whatever the loop."""

    async def cell() -> None:
        first, second = await asyncio.gather(
            sim.run_async(CONFIG, out=tmp_path / "one", environment=synthetic()),
            sim.run_async(CONFIG, out=tmp_path / "other", environment=synthetic()),
        )
        assert first.digest == second.digest
        replayed = await sim.replay_async(here / "run")
        assert (replayed.agrees, replayed.digest) == (True, first.digest)
        with pytest.raises(ServiceError, match="the service is gone") as caught:
            await sim.run_async(
                CONFIG, out=tmp_path / "torn", environment=synthetic(), model=Counted(last=20)
            )
        assert "billp resume" in caught.value.hint
        resumed = await sim.resume_async(tmp_path / "torn")
        assert resumed is not None
        assert resumed.digest == first.digest
        assert await sim.resume_async(tmp_path / "torn") is None
        forked = await sim.fork_async(
            here / "run", (1, 1), say={"planner": "Take Puzzle."}, out=tmp_path / "fork"
        )
        assert forked.digest != first.digest

    within(cell, loop)


@pytest.mark.parametrize("name", ["run", "replay", "resume", "fork"])
def test_twins_take_the_same(name: str) -> None:
    """But for the choice of an event loop: there is one."""
    one, other = (signature(getattr(sim, called)).parameters for called in (name, f"{name}_async"))
    assert dict(other) == {key: value for key, value in one.items() if key != "uvloop"}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_loop_gets_its_exception_handler_back(tmp_path: Path, loop: str) -> None:
    """Whoever heard of errors before a run hears of them after it."""
    heard: list[dict[str, Any]] = []

    async def cell() -> None:
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda _, context: heard.append(context))
        handler = running.get_exception_handler()
        await sim.run_async(CONFIG, out=tmp_path / "run", environment=synthetic())
        assert running.get_exception_handler() is handler
        with pytest.raises(ServiceError):
            await sim.run_async(
                CONFIG, out=tmp_path / "torn", environment=synthetic(), model=Counted(last=20)
            )
        assert running.get_exception_handler() is handler

    within(cell, loop)
    assert heard == []


def test_a_run_that_is_cancelled_can_be_resumed(tmp_path: Path) -> None:
    """As by the stop button of a notebook, or a timeout around it."""

    class Slow(Counted):
        async def reply(self, request: Any) -> Any:
            await asyncio.sleep(0.01)
            return await super().reply(request)

    async def cell() -> None:
        running = sim.run_async(CONFIG, out=tmp_path / "run", environment=synthetic(), model=Slow())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(running, 0.1)
        assert await sim.resume_async(tmp_path / "run") is not None

    asyncio.run(cell())
    assert sim.replay(tmp_path / "run").agrees


def test_run_in_a_thread_of_a_notebook(here: Path) -> None:
    """What the hint says for those without a twin."""

    async def cell() -> object:
        return await asyncio.to_thread(prompt_of, here / "run", (1, 1), "actor")

    assert asyncio.run(cell()) == prompt_of(here / "run", (1, 1), "actor")
