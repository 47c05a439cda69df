"""The roof's event loop: signals end what they should, and a loop that runs already is said."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from engine.errors import ConfigError, InterruptedRunError
from engine.messages import EpisodeStarted
from sim import fork_async, replay_async, resume, resume_async, run_async
from sim.config.layers import configured
from sim.runs.fork import fork
from sim.runs.replay import replay
from sim.runs.run import run
from sim.verification.verify import verify
from tests.support.dying import SMALL
from tests.support.kernel import Delivery, Kernel

SLOW = """
import asyncio, pathlib, sys, time
from agents.models.embedded import EmbeddedModel
from engine.errors import BillpError
from sim import RunConfig, run
from sim.runs.listeners import Listeners as Listeners

class Slow(EmbeddedModel):
    async def reply(self, request):
        print("asked", flush=True)
        await asyncio.sleep(60)

class Stubborn(EmbeddedModel):
    async def reply(self, request):
        print("asked", flush=True)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                print("no", flush=True)

def blocked(envelope):
    print("asked", flush=True)
    while True:
        time.sleep(0.01)

model, blocking = {
    "slow": (Slow(), {}), "stubborn": (Stubborn(), {}), "blocked": (EmbeddedModel(), {"b": blocked})
}[sys.argv[1]]
try:
    config = RunConfig(episodes=4, limit=2)
    run(config, model=model, out=pathlib.Path("run"), listeners=Listeners(blocking))
except BillpError as error:
    print(error, error.hint, file=sys.stderr)
    sys.exit(error.exit_status)
"""


@contextmanager
def ended(place: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    """Begin a run in a process of its own; whatever happens, it is killed in the end."""
    command = [sys.executable, "-c", SLOW, kind]
    with subprocess.Popen(command, cwd=place, stdout=PIPE, stderr=PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def stopped(place: Path, kind: str, number: signal.Signals) -> tuple[int, str]:
    """Return how a run ended that got a signal once it waited, and what it said."""
    with ended(place, kind) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, said = process.communicate(timeout=50)
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_run_that_can_go_on(number: signal.Signals, tmp_path: Path) -> None:
    status, said = stopped(tmp_path, "slow", number)
    assert (status, said.strip()) == (
        130,
        "interrupted; everything so far is in run go on with: billp resume run",
    )
    resume(tmp_path / "run")
    assert not any(check.fault for check in verify(tmp_path / "run"))


@pytest.mark.parametrize("kind", ["stubborn", "blocked"])
def test_a_second_ctrl_c_ends_what_holds_the_first_up(kind: str, tmp_path: Path) -> None:
    """A task that does not end when it is cancelled, a listener that lets nobody else on."""
    with ended(tmp_path, kind) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=50)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1].endswith("go on with: billp resume run")
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
