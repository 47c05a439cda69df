"""Listeners: they hear messages as they happen, and can never hold or hurt a run."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from structlog.testing import capture_logs

from engine.listeners import Ear, Inbox, Listener, Live
from engine.messages import (
    EpisodeEnded,
    EpisodeStarted,
    Message,
    PlanRequested,
    RunEnded,
    UserResponded,
)
from tests.support.kernel import Delivery, Kernel, end, visits

RESPONDED = UserResponded(step=0, reward=3.0, left=False)


def ear(listener: Listener, capacity: int = 10) -> Ear:
    return Ear((PlanRequested,), listener, capacity=capacity)


def spoken(ear: Inbox, count: int) -> None:
    for step in range(count):
        ear.hear(Live(0, 0, PlanRequested(step=step)))


def broken(live: Live[Message]) -> None:
    raise RuntimeError("no terminal")


def test_a_listener_hears_what_it_is_told_in_order() -> None:
    heard: list[int] = []
    listening = ear(lambda live: heard.append(live.message.step))
    spoken(listening, 3)
    asyncio.run(listening.drain())
    assert heard == [0, 1, 2]


@pytest.mark.parametrize("capacity", [1, 2, 5])
def test_the_oldest_are_missed_and_counted(capacity: int) -> None:
    heard: list[int] = []
    listening = ear(lambda live: heard.append(live.message.step), capacity)
    spoken(listening, 5)
    asyncio.run(listening.drain())
    assert heard == list(range(5 - capacity, 5))
    assert listening.missed == 5 - capacity


def test_an_inbox_is_emptied_by_whoever_takes() -> None:
    """Oldest first; once it is closed, what is there and then nothing."""

    async def main() -> list[object]:
        inbox = Inbox((PlanRequested,), capacity=3)
        spoken(inbox, 5)
        inbox.close()
        spoken(inbox, 1)
        assert inbox.missed == 2
        return [await inbox.take() for _ in range(4)]

    left = [Live(0, 0, PlanRequested(step=step)) for step in (2, 3, 4)]
    assert asyncio.run(main()) == [*left, None]


def test_who_takes_waits_for_what_is_not_there_yet() -> None:
    """A message or the end."""

    async def main() -> None:
        inbox = Inbox((PlanRequested,), capacity=3)
        for act in (partial(spoken, inbox, 1), inbox.close):
            taking = asyncio.ensure_future(inbox.take())
            await asyncio.sleep(0.01)
            assert not taking.done()
            act()
            assert (await taking is None) == inbox.deaf

    asyncio.run(main())


def test_others_have_their_turn_while_somebody_takes() -> None:
    """Though there is always something to take."""
    turns: list[int] = []

    async def main() -> None:
        inbox = Inbox((PlanRequested,), capacity=1_000)
        spoken(inbox, 1_000)
        other = asyncio.ensure_future(asyncio.sleep(0))
        for count in range(1_000):
            await inbox.take()
            if other.done():
                turns.append(count)
                other = asyncio.ensure_future(asyncio.sleep(0))

    asyncio.run(main())
    assert len(turns) > 10


def test_a_coroutine_function_is_awaited() -> None:
    heard: list[int] = []

    async def slow(live: Live[PlanRequested]) -> None:
        await asyncio.sleep(0)
        heard.append(live.message.step)

    listening = ear(slow)
    spoken(listening, 2)
    asyncio.run(listening.drain())
    assert heard == [0, 1]


def test_the_first_error_makes_deaf() -> None:
    """Logged once with its traceback; nothing is kept for a listener that is gone."""
    listening = ear(broken)
    spoken(listening, 3)
    with capture_logs() as logs:
        asyncio.run(listening.drain())
        spoken(listening, 30)
    (log,) = logs
    assert log["listener"] == "broken"
    assert log["exception"].endswith("RuntimeError: no terminal")
    assert (listening.deaf, listening.missed) == (True, 0)


def test_messages_are_heard_before_their_episode_is_closed() -> None:
    """The handler waits until the listener has heard: it would wait for ever otherwise."""
    heard = asyncio.Event()

    async def wait(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(RESPONDED, after=70)
        await heard.wait()
        await end(delivery)

    kernel = Kernel(visits(5)).on(EpisodeStarted, wait)
    told: list[Live[UserResponded]] = []
    kernel.bus.listen(UserResponded, told.append)
    kernel.bus.listen(UserResponded, lambda live: heard.set())
    kernel.run()
    assert told == [Live(0, 75, RESPONDED)]


def test_head_and_end_of_a_run_are_heard() -> None:
    kernel = Kernel().on(EpisodeStarted, end)
    heard: list[Live[Message]] = []
    kernel.bus.listen(Message, heard.append)
    trace = kernel.run()
    assert [live.message for live in heard] == [envelope.message for envelope in trace]
    assert (heard[0].episode, heard[1].episode, heard[-1].episode) == (None, 0, None)


def test_a_listener_that_raises_hurts_no_run() -> None:
    undisturbed = Kernel(visits(0, 0)).on(EpisodeStarted, end).run()
    kernel = Kernel(visits(0, 0)).on(EpisodeStarted, end)
    kernel.bus.listen(Message, broken)
    with capture_logs():
        assert kernel.run() == undisturbed
    assert kernel.bus.statistics().dropped_listeners == 1


async def cancelled(live: Live[Message]) -> None:
    """Wait for a task of its own that was cancelled."""
    task = asyncio.create_task(asyncio.sleep(9))
    task.cancel()
    await task


def test_a_listener_that_lets_a_cancellation_pass_hurts_no_run() -> None:
    """The task group of the run would take it for its own, and end the run as if it were whole."""
    undisturbed = Kernel(visits(0, 0)).on(EpisodeStarted, end).run()
    kernel = Kernel(visits(0, 0)).on(EpisodeStarted, end)
    kernel.bus.listen(Message, cancelled)
    with capture_logs() as logs:
        assert kernel.run() == undisturbed
    assert [(log["event"], log["log_level"]) for log in logs] == [("listener dropped", "error")]


def test_a_listener_that_is_slow_at_the_end_is_taken_leave_of() -> None:
    """Even if it is a plain function: between two messages others get their turn."""
    heard: list[Message] = []

    def slow(live: Live[Message]) -> None:
        heard.append(live.message)
        time.sleep(0.02)

    async def main() -> Ear:
        slow_ear = ear(slow, capacity=100)
        spoken(slow_ear, 100)
        await slow_ear.finish(0.05)
        return slow_ear

    assert asyncio.run(main()).missed == 100 - len(heard) > 0


def test_a_listener_that_never_returns_holds_no_run() -> None:
    """What it could not hear is counted as missed."""

    async def stuck(live: Live[Message]) -> None:
        await asyncio.Event().wait()

    kernel = Kernel().on(EpisodeStarted, end)
    kernel.bus.farewell = 0.0
    kernel.bus.listen(EpisodeStarted | EpisodeEnded | RunEnded, stuck)
    kernel.run()
    assert kernel.bus.statistics().missed == 1


def test_a_listener_in_arrears_hears_the_rest_at_the_end() -> None:
    heard: list[str] = []

    async def slow(live: Live[Message]) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        heard.append(type(live.message).__name__)

    kernel = Kernel().on(EpisodeStarted, end)
    kernel.bus.listen(RunEnded, slow)
    kernel.run()
    assert heard == ["RunEnded"]
    assert kernel.bus.statistics().missed == 0


# -- code of the user's that leaves by any way there is


def leaves(error: type[BaseException]) -> Callable[[object], None]:
    def listener(_: object) -> None:
        raise error

    return listener


def awaits_and_leaves(error: type[BaseException]) -> Callable[[object], Awaitable[None]]:
    async def listener(_: object) -> None:
        await asyncio.sleep(0)
        raise error

    return listener


def cancels_itself(_: object) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def awaits_and_cancels_itself(_: object) -> None:
    cancels_itself(None)
    await asyncio.sleep(0)


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("it cannot say what it is")


LEAVING = [
    *(leaves(error) for error in (SystemExit, KeyboardInterrupt, GeneratorExit, MuteError)),
    *(awaits_and_leaves(error) for error in (SystemExit, KeyboardInterrupt, MuteError)),
    cancels_itself,
    awaits_and_cancels_itself,
]


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("listener", LEAVING)
def test_nothing_that_a_listener_or_follower_does_ends_a_run(
    listener: Callable[[object], Awaitable[None] | None], live: bool
) -> None:
    undisturbed = Kernel().on(EpisodeStarted, end).run()
    kernel = Kernel().on(EpisodeStarted, end)
    (kernel.bus.listen if live else kernel.bus.follow)(EpisodeStarted, listener)
    with capture_logs() as logs:
        assert kernel.run() == undisturbed
    event = "listener dropped" if live else "follower dropped"
    assert [(log["event"], log["log_level"]) for log in logs] == [(event, "error")]
