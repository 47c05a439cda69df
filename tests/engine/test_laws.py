"""The laws of the kernel, each broken on purpose: the run stops and the handler is named.

Real time would decide what is in a trace if one of these were let pass.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from engine.delivery import Handler
from engine.errors import LawError
from engine.messages import (
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    HandlerFailed,
    MemoryWritten,
    Message,
    ModelFailed,
    ModelReplied,
    PlanRequested,
    RunEnded,
)
from engine.records import MemoryName
from tests.support.kernel import (
    HEAD,
    KEY,
    NOTES,
    Chain,
    Delivery,
    Kernel,
    Note,
    Question,
    end,
    names,
    opening,
    visits,
)

PLAN = PlanRequested(step=0)
Deed = Callable[[Delivery[Any]], object]

DEEDS: dict[str, tuple[Deed, str]] = {
    "publish": (lambda delivery: delivery.publish(PLAN), "publishes"),
    "ask": (lambda delivery: delivery.ask(Question("actor")), "asks"),
    "chance": (lambda delivery: delivery.chance("mood"), "draws"),
    "remember": (lambda delivery: delivery.remember(NOTES, []), "remembers"),
}
"""What leaves a mark, or takes a name."""

deeds = pytest.mark.parametrize(("deed", "verb"), DEEDS.values(), ids=DEEDS)


def broken(*handlers: Handler[Chain], kind: type = EpisodeStarted) -> str:
    """Run an episode with *handlers* of *kind*; return the law that was broken.

    The handler does not take the episode with it: what is in the trace are whole episodes.
    """
    kernel = Kernel().on(EpisodeStarted, end)
    for handler in handlers:
        kernel.on(kind, handler)
    with pytest.raises(LawError) as caught:
        kernel.run()
    assert names(kernel.trace) == ["RunStarted"]
    assert caught.value.exit_status == 1
    return str(caught.value).replace(f"{handlers[-1].__qualname__} ", "BREAKER ")


async def wait(delivery: Delivery[Any]) -> None:
    """Hold the episode open."""
    for _ in range(20):
        await asyncio.sleep(0)


@deeds
def test_nothing_is_done_after_returning(deed: Deed, verb: str) -> None:
    """A delivery that was kept is of no use any more, whoever uses it."""
    kept: list[Delivery[Any]] = []

    async def keep(delivery: Delivery[EpisodeStarted]) -> None:
        kept.append(delivery)

    async def misuse(delivery: Delivery[EpisodeSettled]) -> None:
        deed(kept[0])

    kernel = Kernel().on(EpisodeStarted, end).on(EpisodeStarted, keep).on(EpisodeSettled, misuse)
    with pytest.raises(LawError, match=f"<locals>.keep {verb} after it returned"):
        kernel.run()


@deeds
def test_nothing_is_done_after_returning_by_a_task_left_behind(deed: Deed, verb: str) -> None:
    async def later(delivery: Delivery[EpisodeSettled]) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        deed(delivery)

    async def leave(delivery: Delivery[EpisodeSettled]) -> None:
        left.append(asyncio.create_task(later(delivery)))

    left: list[asyncio.Task[None]] = []
    kernel = Kernel().on(EpisodeStarted, end)
    kernel.on(EpisodeSettled, leave).on(EpisodeSettled, wait)
    with pytest.raises(LawError, match=f"<locals>.leave {verb} after it returned"):
        kernel.run()
    assert isinstance(left[0].exception(), LawError)


@deeds
def test_nothing_is_done_from_another_task(deed: Deed, verb: str) -> None:
    """Also while the handler still waits for that task."""

    async def work(delivery: Delivery[EpisodeSettled]) -> None:
        deed(delivery)

    async def delegate(delivery: Delivery[EpisodeSettled]) -> None:
        await asyncio.gather(work(delivery))

    law = broken(delegate, kind=EpisodeSettled)
    assert law == f"BREAKER {verb} from another task than its own"


def test_nothing_is_published_from_a_callback() -> None:
    async def schedule(delivery: Delivery[EpisodeStarted]) -> None:
        asyncio.get_running_loop().call_soon(attempt, delivery)
        await wait(delivery)

    def attempt(delivery: Delivery[EpisodeStarted]) -> None:
        with pytest.raises(LawError):
            delivery.publish(PLAN)

    assert broken(schedule) == "BREAKER publishes from another task than its own"


def test_one_handler_does_not_publish_for_another() -> None:
    lent: list[Delivery[Any]] = []

    async def lend(delivery: Delivery[EpisodeStarted]) -> None:
        lent.append(delivery)
        await wait(delivery)

    async def borrow(delivery: Delivery[EpisodeStarted]) -> None:
        lent[0].publish(PLAN)

    assert "lend publishes from another task than its own" in broken(lend, borrow)


def test_a_breach_stops_the_run_even_if_it_is_caught() -> None:
    async def hush(delivery: Delivery[EpisodeStarted]) -> None:
        with pytest.raises(LawError):
            delivery.publish(PLAN, after=-1)
        await wait(delivery)

    assert broken(hush) == "BREAKER publishes into the past (-1 ms)"


@pytest.mark.parametrize("after", [0.5, 1.0, True])
def test_virtual_time_is_a_whole_number(after: Any) -> None:
    async def hurry(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(PLAN, after=after)

    assert broken(hurry) == f"BREAKER publishes between two milliseconds ({after!r} ms)"


@pytest.mark.parametrize(
    "message",
    [
        HEAD,
        RunEnded(episodes=0, failed=0),
        opening(visits(0).visits[0], ()),
        EpisodeSettled(),
        EpisodeFailed(why=""),
        HandlerFailed(handler="", error=""),
        MemoryWritten(memory="notes", count=1),
        ModelReplied(
            step=0,
            role="",
            occurrence=0,
            request="",
            text="",
            prompt_tokens=0,
            completion_tokens=0,
        ),
        ModelFailed(step=0, role="", occurrence=0, request="", error=""),
        "no message at all",
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_the_kernel_says_is_said_by_nobody_else(message: Message) -> None:
    """A handler that could settle its episode could remember what is not yet certain."""

    async def usurp(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(message)

    assert broken(usurp) == f"BREAKER publishes {message!r}, which is for the kernel alone"


def test_two_handlers_do_not_share_a_call_identity() -> None:
    """Whoever asked first would be occurrence 0."""

    async def ask(delivery: Delivery[EpisodeStarted]) -> None:
        await delivery.ask(Question("actor", 3))

    assert broken(ask, ask) == "BREAKER asks as 'actor' at step 3: another one did"


def test_one_handler_does_not_share_a_call_identity_with_itself() -> None:
    """Two messages handled by the same handler at one step are two owners."""

    async def ask(delivery: Delivery[Any]) -> None:
        delivery.ask(Question("actor", 3))

    law = broken(ask, kind=EpisodeStarted | EpisodeEnded)  # type: ignore[arg-type]
    assert law == "BREAKER asks as 'actor' at step 3: another one did"


def test_a_shared_call_identity_stops_the_run_even_if_it_is_caught() -> None:
    async def ask(delivery: Delivery[EpisodeStarted]) -> None:
        try:
            await delivery.ask(Question("actor"))
        except LawError:
            await wait(delivery)

    assert broken(ask, ask) == "BREAKER asks as 'actor' at step 0: another one did"


def test_a_stream_of_chance_is_given_out_once() -> None:
    """To one handler: whoever drew first would get the first numbers."""

    async def draw(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.chance("mood", 2)

    assert broken(draw, draw) == "BREAKER draws from 'mood' at step 2, which was given out before"


def test_a_stream_given_out_twice_stops_the_run_even_if_it_is_caught() -> None:
    async def draw(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.chance("mood")
        with pytest.raises(LawError):
            delivery.chance("mood")
        await wait(delivery)

    assert broken(draw) == "BREAKER draws from 'mood' at step 0, which was given out before"


@pytest.mark.parametrize("kind", [EpisodeStarted, EpisodeEnded])
def test_nothing_is_remembered_before_all_is_settled(kind: type) -> None:
    """An episode that fails leaves nothing, and only the join knows that it has not failed."""

    async def hasten(delivery: Delivery[Any]) -> None:
        delivery.remember(NOTES, [(KEY, Note(text="too early"))])

    assert broken(hasten, kind=kind) == "BREAKER remembers before the episode is settled"


def test_nothing_is_remembered_under_what_settling_led_to() -> None:
    async def publish(delivery: Delivery[EpisodeSettled]) -> None:
        delivery.publish(PLAN)

    async def trail(delivery: Delivery[PlanRequested]) -> None:
        delivery.remember(NOTES, [])

    kernel = Kernel().on(EpisodeStarted, end).on(EpisodeSettled, publish).on(PlanRequested, trail)
    with pytest.raises(LawError, match="trail remembers before the episode is settled"):
        kernel.run()


def test_nothing_is_remembered_where_there_is_no_memory() -> None:
    async def misspell(delivery: Delivery[EpisodeSettled]) -> None:
        delivery.remember(MemoryName("nots", Note), [])

    law = broken(misspell, kind=EpisodeSettled)
    assert law == "BREAKER remembers in 'nots', which is no memory of this run"


@pytest.mark.parametrize("kind", [EpisodeStarted, EpisodeEnded])
def test_nobody_looks_at_the_whole_episode_before_it_is_settled(kind: type) -> None:
    """What happens beside a handler is a matter of real time."""

    async def peek(delivery: Delivery[Any]) -> None:
        assert delivery.episode is None

    law = broken(peek, kind=kind)
    assert law == "BREAKER looks at the whole episode before it is settled"


def test_a_method_is_named_with_its_class() -> None:
    class Critic:
        async def judge(self, delivery: Delivery[EpisodeStarted]) -> None:
            delivery.publish(PLAN, after=-5)

    kernel = Kernel().on(EpisodeStarted, Critic().judge)
    with pytest.raises(LawError, match=r"^Critic\.judge publishes into the past"):
        kernel.run()


def test_the_first_breach_is_the_one_that_is_told() -> None:
    async def first(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(PLAN, after=-1)

    async def second(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(PLAN, after=-2)

    assert "(-1 ms)" in broken(first, second)


def test_arrivals_that_know_neither_a_visit_nor_an_end_stop_the_run() -> None:
    """They would be waited for without end."""

    class Undecided:
        def upcoming(self) -> None: ...
        def started(self) -> None: ...
        def closed(self, end: int) -> None: ...
        def exhausted(self) -> bool:
            return False

    with pytest.raises(LawError, match="neither give a visit nor say that there is none"):
        Kernel(Undecided()).run()
