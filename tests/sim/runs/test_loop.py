"""The roof's event loop: signals end what they should, and a loop that runs already is said."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatModel, ChatReply, ChatRequest
from engine.errors import BillpError, ConfigError, InterruptedRunError
from engine.messages import EpisodeStarted
from sim import RunConfig, fork_async, replay_async, resume, resume_async, run_async
from sim.config.layers import configured
from sim.runs.fork import fork
from sim.runs.listeners import Listeners
from sim.runs.replay import replay
from sim.runs.run import run
from sim.verification.verify import verify
from tests.sim.runs.test_interrupt import until
from tests.support.dying import SMALL, Living, living
from tests.support.kernel import Delivery, Kernel

ASKED = Path("asked")


def asked() -> None:
    """Let it be seen that the run waits now."""
    ASKED.touch()


class Slow(EmbeddedModel):
    """A model that lets wait."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        asked()
        await asyncio.sleep(60)
        return await super().reply(request)


class Stubborn(EmbeddedModel):
    """A model that nobody can cancel."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        asked()
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)


def blocked(envelope: object) -> None:
    """Let nobody else on."""
    asked()
    while True:
        time.sleep(0.01)


KINDS: dict[str, tuple[ChatModel, dict[str, Callable[[Any], None]]]] = {
    "slow": (Slow(), {}),
    "stubborn": (Stubborn(), {}),
    "blocked": (EmbeddedModel(), {"b": blocked}),
}


def script(here: Path, kind: str) -> None:
    """Be the script of somebody who is *here*."""
    os.chdir(here)
    model, blocking = KINDS[kind]
    config = RunConfig(episodes=4, limit=2)
    try:
        run(config, model=model, out=Path("run"), listeners=Listeners(blocking))
    except BillpError as error:
        sys.stderr.write(f"{error} {error.hint}\n")
        sys.exit(error.exit_status)


@contextmanager
def waiting(place: Path, kind: str) -> Iterator[Living]:
    """Begin a run in a process of its own, which waits now."""
    with living(partial(script, place, kind), place / "run") as process:
        until((place / ASKED).exists)
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_run_that_can_go_on(number: signal.Signals, tmp_path: Path) -> None:
    with waiting(tmp_path, "slow") as process:
        process.send(number)
        said = process.ended()
    assert (said.status, said.err.strip()) == (
        130,
        "interrupted; everything so far is in run go on with: billp resume run",
    )
    resume(tmp_path / "run")
    assert not any(check.fault for check in verify(tmp_path / "run"))


@pytest.mark.parametrize("kind", ["stubborn", "blocked"])
def test_a_second_ctrl_c_ends_what_holds_the_first_up(kind: str, tmp_path: Path) -> None:
    """A task that does not end when it is cancelled, a listener that lets nobody else on."""
    with waiting(tmp_path, kind) as process:
        process.send(signal.SIGINT)
        process.process.join(0.3)
        assert process.process.is_alive()
        process.send(signal.SIGINT)
        said = process.ended()
    assert said.status == 130
    assert said.err.strip().splitlines()[-1].endswith("go on with: billp resume run")
    resume(tmp_path / "run")
    assert not any(check.fault for check in verify(tmp_path / "run"))


# -- where a loop runs already


@pytest.fixture
def place(tmp_path: Path) -> Path:
    run(configured(SMALL), out=tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("function", "twin"),
    [
        (lambda place: run(configured(SMALL), out=place / "other"), "run_async"),
        (replay, "replay_async"),
        (lambda place: resume(place, retry_failed=True), "resume_async"),
        (lambda place: fork(place, (1, 0)), "fork_async"),
    ],
)
def test_in_a_notebook_a_function_names_its_twin(
    function: Callable[[Path], object], twin: str, place: Path
) -> None:
    async def notebook() -> None:
        function(place)

    with pytest.raises(ConfigError, match="an event loop runs here already") as caught:
        asyncio.run(notebook())
    assert caught.value.hint == f"await {twin}(…), which takes the same"


def test_twins_run_where_a_loop_runs(place: Path) -> None:
    """And leave it as it was."""
    seen: list[Any] = []

    async def notebook() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        before = loop.get_exception_handler()
        new: list[Awaitable[Any]] = [
            run_async(configured(SMALL), out=place.with_name("again")),
            replay_async(place),
            fork_async(place, (1, 0), out=place.with_name("fork")),
        ]
        seen.extend([await work for work in new])
        (place.with_name("again") / "summary.json").unlink()
        seen.append(await resume_async(place.with_name("again")))
        assert loop.get_exception_handler() is before

    asyncio.run(notebook())
    first, replayed, forked, resumed = seen
    assert first.digest == replayed.digest == resumed.digest
    assert forked.metrics == first.metrics


# -- where memory is short


class Hungry(EmbeddedModel):
    """A model to which the machine gives no more memory, from a call on."""

    calls = 0

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.calls += 1
        if self.calls > 7:
            raise MemoryError
        return await super().reply(request)


def test_a_run_that_runs_out_of_memory_can_go_on(tmp_path: Path) -> None:
    """How much there was is not seen in what comes of it."""
    with pytest.raises(InterruptedRunError, match="memory ran out") as caught:
        run(configured(SMALL), out=tmp_path / "run", model=Hungry())
    assert caught.value.hint == f"go on with: billp resume {tmp_path / 'run'}"
    again = resume(tmp_path / "run")
    assert again is not None
    assert again.digest == run(configured(SMALL), out=tmp_path / "undisturbed").digest


def test_a_handler_that_gets_no_memory_stops_the_run() -> None:
    async def hungry(delivery: Delivery[EpisodeStarted]) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        Kernel().on(EpisodeStarted, hungry).run()


def test_a_command_that_gets_no_memory_says_so(tmp_path: Path) -> None:
    """Where it is Python that is told; libraries may end the process."""
    code = (
        "import resource; from sim import cli; from sim.commands import run;"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30));"
        "run.run_episodes = lambda *_, **__: bytes(4 << 30);"
        "cli.main(['run'])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stderr.splitlines()[0]) == (2, "billp: memory ran out")


def test_a_run_leaves_other_processors_to_others(tmp_path: Path) -> None:
    """Threads of a linear algebra that wait for each other take ten times what they compute."""
    during: set[int] = set()

    class Looking(EmbeddedModel):
        async def reply(self, request: ChatRequest) -> ChatReply:
            during.update(threads())
            return await super().reply(request)

    with threadpool_limits(2, user_api="blas"):
        run(configured(SMALL), out=tmp_path / "run", model=Looking())
        after = threads()
    assert during == {1}
    assert after == {2}


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
