"""A run that is heard while it runs: nothing of it changes, and nothing holds it."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest

import sim
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from engine.errors import BillpError, LawError, ServiceError
from engine.messages import EpisodeEnded, RunEnded, RunStarted, UserResponded
from sim import live
from sim.config.layers import configured
from sim.runs.listeners import Listeners
from storage.journal import identity
from storage.runs import RunDirectory
from tests.support.small import SMALL, Counted, recorded, synthetic, trace_of

CONFIG = configured(SMALL, {})


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The same run with nobody listening."""
    return recorded(tmp_path_factory.mktemp("quiet") / "run")


class Slow:
    """The embedded model, which takes its time: there is always something to wait for."""

    model = EmbeddedModel()

    async def reply(self, request: ChatRequest) -> ChatReply:
        await asyncio.sleep(0.001)
        return await self.model.reply(request)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_every_message_is_heard_and_the_trace_is_the_same(
    loop: str, quiet: RunDirectory, tmp_path: Path
) -> None:
    """From the first to the last, each once; then the summary can be had."""

    async def main() -> None:
        async with live(CONFIG, out=tmp_path / "run", environment=synthetic()) as running:
            heard = [one async for one in running]
        assert (type(heard[0].message), type(heard[-1].message)) == (RunStarted, RunEnded)
        whole = trace_of(quiet)
        assert sorted(map(repr, (e.message for e in whole))) == sorted(
            repr(one.message) for one in heard
        )
        assert (running.missed, running.summary.messages) == (0, len(whole))
        assert (running.run, running.summary.run) == (str(tmp_path / "run"),) * 2

    anyio.run(main, backend_options={"use_uvloop": loop == "uvloop"})
    assert RunDirectory(tmp_path / "run").trace.read_bytes() == quiet.trace.read_bytes()


def test_messages_come_while_the_run_runs(tmp_path: Path) -> None:
    """Not all of them at its end."""

    async def main() -> None:
        async with live(CONFIG, out=tmp_path / "run", model=Slow()) as running:
            async for heard in running:
                if heard.episode == 0 and isinstance(heard.message, EpisodeEnded):
                    assert not RunDirectory(tmp_path / "run").finished
                    with pytest.raises(LawError, match="has not come to its end"):
                        _ = running.summary

    asyncio.run(main())


def test_only_what_is_asked_for_is_heard(tmp_path: Path) -> None:
    async def main() -> None:
        hears = UserResponded | EpisodeEnded
        async with live(CONFIG, hears=hears, out=tmp_path / "run") as running:
            assert {type(one.message) async for one in running} == {UserResponded, EpisodeEnded}

    asyncio.run(main())


def test_who_is_prompt_misses_nothing(quiet: RunDirectory, tmp_path: Path) -> None:
    """Though the embedded model lets hardly anybody else on."""

    async def main() -> None:
        async with live(CONFIG, capacity=100, out=tmp_path / "run") as running:
            heard = [one async for one in running]
        assert (running.missed, len(heard)) == (0, len(trace_of(quiet)))

    asyncio.run(main())


def test_who_is_slow_misses_some_and_holds_nobody(quiet: RunDirectory, tmp_path: Path) -> None:
    """What was missed is counted, the oldest; the run is over before the block is."""
    ended = asyncio.Event()

    def end(_: object) -> None:
        ended.set()

    async def main() -> None:
        heard: list[Any] = []
        listeners = Listeners({"end": Hearing(end)})
        async with live(CONFIG, capacity=10, out=tmp_path / "run", listeners=listeners) as running:
            async for one in running:
                await ended.wait()
                heard.append(one)
        assert len(heard) <= 11
        assert len(heard) + running.missed == len(trace_of(quiet))
        assert type(heard[-1].message) is RunEnded

    asyncio.run(main())
    assert RunDirectory(tmp_path / "run").trace.read_bytes() == quiet.trace.read_bytes()


class Hearing:
    """Calls a function at the end of a run."""

    hears = RunEnded

    def __init__(self, function: Callable[[object], None]) -> None:
        self.function = function

    def __call__(self, envelope: object) -> None:
        self.function(envelope)


class MineError(Exception):
    """Raised in the middle of a block."""


@pytest.mark.parametrize("failing", [False, True])
def test_a_run_that_is_left_early_can_be_resumed(
    failing: bool, quiet: RunDirectory, tmp_path: Path
) -> None:
    """By a break or by an error, which is the one that comes out; no call is made twice."""
    model = Counted()

    async def main() -> None:
        async with live(CONFIG, out=tmp_path / "run", model=model) as running:
            async for heard in running:
                if heard.episode == 3:
                    if failing:
                        raise MineError
                    break
        left = [one async for one in running]
        assert RunEnded not in {type(one.message) for one in left}

    with pytest.raises(MineError) if failing else nullcontext():
        asyncio.run(main())
    assert not RunDirectory(tmp_path / "run").finished
    sim.resume(tmp_path / "run", model=model)
    assert RunDirectory(tmp_path / "run").trace.read_bytes() == quiet.trace.read_bytes()
    asked = [identity(call) for call in model.asked]
    assert len(asked) == len(set(asked))


def test_who_cancels_the_block_leaves_a_run_to_resume(quiet: RunDirectory, tmp_path: Path) -> None:
    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with live(CONFIG, out=tmp_path / "run", model=Slow()) as running:
                async for heard in running:
                    if heard.episode == 1:
                        scope.cancel()
        assert scope.cancelled_caught

    asyncio.run(main())
    assert sim.resume(tmp_path / "run") is not None
    assert RunDirectory(tmp_path / "run").trace.read_bytes() == quiet.trace.read_bytes()


def test_what_stops_the_run_comes_out_as_it_is(tmp_path: Path) -> None:
    """With the hint how to go on, and in no group."""

    async def main() -> None:
        async with live(CONFIG, out=tmp_path / "run", model=Counted(last=20)) as running:
            async for _ in running:
                pass

    with pytest.raises(ServiceError, match="the service is gone") as caught:
        asyncio.run(main())
    assert "billp resume" in caught.value.hint


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"hears": str}, "expected a message type"),
        ({"capacity": 0}, "expected a capacity of at least 1"),
        ({"config": configured(SMALL, {"limit": 10**6})}, "steps without repeats"),
    ],
)
def test_what_cannot_be_run_is_said(how: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    """Before anything is written."""

    async def main() -> None:
        async with live(**{"config": CONFIG, "out": tmp_path / "run", **how}) as running:
            async for _ in running:
                pass

    with pytest.raises(BillpError, match=sentence):
        asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_directory_before_the_run_has_begun(tmp_path: Path) -> None:
    async def main() -> None:
        async with live(CONFIG, out=tmp_path / "run") as running:
            with pytest.raises(LawError, match="has no directory yet"):
                _ = running.run

    asyncio.run(main())
