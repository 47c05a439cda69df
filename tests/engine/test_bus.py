"""The bus: who hears what, in which places it stands in the trace, and until when one may join."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.bus import Bus, kinds
from engine.delivery import Handler
from engine.errors import LawError
from engine.messages import (
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    HandlerFailed,
    Message,
    PlanRequested,
    ReflectionWritten,
    RunEnded,
    RunStarted,
    StateValued,
)
from tests.support.kernel import (
    HEAD,
    Chain,
    Delivery,
    Kernel,
    Lines,
    decoded,
    end,
    names,
    only,
    visits,
)


def saying(text: str, pauses: int = 0) -> Handler[Chain]:
    async def say(delivery: Delivery[Any]) -> None:
        for _ in range(pauses):
            await asyncio.sleep(0)
        delivery.publish(ReflectionWritten(text=text))

    return say


def texts(kernel: Kernel) -> list[str]:
    return [message.text for message in only(kernel.run(), ReflectionWritten)]


@pytest.mark.parametrize("pauses", [(0, 3, 6), (6, 3, 0), (3, 6, 0)])
def test_places_follow_subscription_and_not_speed(pauses: tuple[int, ...]) -> None:
    kernel = Kernel().on(EpisodeStarted, end)
    for name, wait in zip("abc", pauses, strict=True):
        kernel.on(EpisodeStarted, saying(name, wait))
    assert texts(kernel) == ["a", "b", "c"]


def test_handlers_of_a_message_run_at_once() -> None:
    """Each waits for the other: in turn they would wait for ever."""
    met = asyncio.Barrier(2)

    async def meet(delivery: Delivery[EpisodeStarted]) -> None:
        await met.wait()

    Kernel().on(EpisodeStarted, meet).on(EpisodeStarted, meet).on(EpisodeStarted, end).run()


def test_a_handler_subscribed_twice_handles_twice() -> None:
    say = saying("again")
    kernel = Kernel().on(EpisodeStarted, say).on(EpisodeStarted, say).on(EpisodeStarted, end)
    assert texts(kernel) == ["again", "again"]


def test_a_union_stands_for_all_its_types() -> None:
    kernel = Kernel().on(EpisodeStarted, end).on(EpisodeStarted | EpisodeEnded, saying("heard"))
    assert texts(kernel) == ["heard", "heard"]


def test_kinds_are_the_types_of_a_union() -> None:
    assert kinds(PlanRequested) == (PlanRequested,)
    assert kinds(EpisodeEnded | PlanRequested) == (EpisodeEnded, PlanRequested)
    assert set(kinds(Message)) > {RunStarted, StateValued, HandlerFailed}


@pytest.mark.parametrize("wrong", [str, PlanRequested | int, object])
def test_what_is_no_message_cannot_be_heard(wrong: type) -> None:
    with pytest.raises(LawError, match="expected a message type or a union of them, got <class"):
        Bus[Chain]().follow(wrong, print)


@pytest.mark.parametrize("kind", [RunStarted, RunEnded, EpisodeFailed, HandlerFailed])
def test_what_is_about_an_episode_cannot_be_handled_in_it(kind: type) -> None:
    """It would begin again when it is over; listeners and followers hear of it."""
    with pytest.raises(LawError, match=f"end cannot handle {kind.__name__}"):
        Bus[Chain]().subscribe(EpisodeStarted | kind, end)


@pytest.mark.parametrize(
    "join",
    [
        lambda bus: bus.subscribe(EpisodeStarted, end),
        lambda bus: bus.listen(EpisodeStarted, print),
        lambda bus: bus.follow(EpisodeStarted, print),
        lambda bus: bus.write_to(Lines()),
    ],
)
def test_nobody_joins_after_the_start(join: Callable[[Bus[Chain]], None]) -> None:
    bus = Bus[Chain]()
    asyncio.run(bus.open(HEAD))
    with pytest.raises(LawError, match="once the run has started"):
        join(bus)


def test_a_handler_cannot_subscribe_another() -> None:
    kernel = Kernel()

    async def recruit(delivery: Delivery[EpisodeStarted]) -> None:
        kernel.bus.subscribe(EpisodeEnded, end)

    with pytest.raises(LawError, match="cannot subscribe once the run has started"):
        kernel.on(EpisodeStarted, recruit).run()


def test_followers_hear_the_trace_itself() -> None:
    kernel = Kernel(visits(0, 5)).on(EpisodeStarted, end).on(EpisodeStarted, saying("so"))
    heard: list[Any] = []
    kernel.bus.follow(Message, heard.append)
    assert heard == kernel.run()


def test_a_trace_begins_with_the_head_and_ends_with_the_end() -> None:
    trace = Kernel(visits(40)).on(EpisodeStarted, end).run()
    assert trace[0].message == HEAD
    assert trace[-1].message == RunEnded(episodes=1, failed=0)
    assert [(e.episode, e.n, e.cause, e.time) for e in (trace[0], trace[-1])] == [
        (None, 0, None, 0),
        (None, 1, 0, 40),
    ]


def test_every_writer_gets_the_same_bytes() -> None:
    kernel, second = Kernel().on(EpisodeStarted, end), Lines()
    kernel.bus.write_to(second)
    assert kernel.run() == decoded(second.text)


def test_statistics_count_messages_and_losses() -> None:
    def broken(heard: object) -> None:
        raise RuntimeError("gone")

    kernel = Kernel(visits(0, 0, 0)).on(EpisodeStarted, end)
    kernel.bus.listen(EpisodeStarted, broken)
    kernel.bus.listen(EpisodeStarted, print, capacity=1)
    kernel.bus.follow(EpisodeStarted, broken)
    with capture_logs():
        trace = kernel.run()
    statistics = kernel.bus.statistics()
    assert statistics.messages == len(trace) == len(names(trace))
    assert (statistics.dropped_listeners, statistics.dropped_followers) == (1, 1)
    assert statistics.missed == 2
