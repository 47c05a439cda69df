"""Who takes too long is given up, in time, by one timer for all; and nobody else is."""

import asyncio

import pytest

from agents.models.remote.deadlines import Deadlines, Within


def test_all_are_ended_in_the_order_in_which_they_began() -> None:
    """One timer is enough for many, also where the first ones leave before."""

    async def ended() -> list[int]:
        gone: list[int] = []
        deadlines = Deadlines[int](0.02, gone.append)
        for who in range(6):
            deadlines.begin(who)
            await asyncio.sleep(0.002)
        deadlines.over(0)
        deadlines.over(3)
        await asyncio.sleep(0.06)
        return gone

    assert asyncio.run(ended()) == [1, 2, 4, 5]


def test_who_begins_after_all_have_ended_is_ended_as_well() -> None:
    """A timer that came for nobody is set again."""

    async def ended() -> list[str]:
        gone: list[str] = []
        deadlines = Deadlines[str](0.005, gone.append)
        deadlines.begin("left")
        assert deadlines.over("left")
        await asyncio.sleep(0.01)
        deadlines.begin("stays")
        await asyncio.sleep(0.02)
        assert not deadlines.over("stays")
        return gone

    assert asyncio.run(ended()) == ["stays"]


def test_a_task_that_does_not_leave_in_time_hears_so() -> None:
    """It is a TimeoutError, as of asyncio.timeout, and the task goes on from there."""

    async def late() -> int:
        deadlines = Deadlines[asyncio.Task[object]](0.005, asyncio.Task.cancel)
        with pytest.raises(TimeoutError), Within(deadlines):
            await asyncio.sleep(60)
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(late()) == 0


def test_who_is_cancelled_by_others_stays_so() -> None:
    """Also where the deadline has come at the same time, or nobody keeps it any more."""

    async def cancelled(*, late: bool, closed: bool) -> bool:
        deadlines = Deadlines[asyncio.Task[object]](60, asyncio.Task.cancel)

        async def wait() -> None:
            with Within(deadlines):
                await asyncio.sleep(60)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        if late:
            deadlines.over(task)
            task.cancel()
        if closed:
            deadlines.close()
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    for late, closed in ((False, False), (True, False), (False, True)):
        assert asyncio.run(cancelled(late=late, closed=closed))


def test_what_else_is_raised_passes() -> None:
    """An error of what is done in time is that error, and leaves nothing behind."""

    async def raising() -> bool:
        deadlines = Deadlines[asyncio.Task[object]](0.005, asyncio.Task.cancel)
        with pytest.raises(ValueError, match="mine"), Within(deadlines):
            raise ValueError("mine")
        await asyncio.sleep(0.02)
        return True

    assert asyncio.run(raising())
