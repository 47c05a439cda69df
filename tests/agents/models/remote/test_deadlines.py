"""Who takes too long is given up, in time, by one timer for all; and nobody else is."""

import asyncio

import pytest

from agents.models.remote.deadlines import Deadlines, Within
from tests.support.virtual import now, virtually


def of_tasks() -> Deadlines["asyncio.Task[object]"]:
    return Deadlines(180, lambda task: task.cancel())


def test_each_is_ended_in_its_time() -> None:
    """One timer is enough for many, also where some have left before."""

    async def ended() -> dict[int, int]:
        times: dict[int, int] = {}
        deadlines = Deadlines[int](180, lambda who: times.update({who: round(now())}))
        for who in range(6):
            deadlines.begin(who)
            await asyncio.sleep(10)
        assert deadlines.over(0)
        assert deadlines.over(3)
        await asyncio.sleep(600)
        return times

    assert virtually(ended) == {1: 190, 2: 200, 4: 220, 5: 230}


def test_who_begins_when_nobody_waits_any_more_is_ended_as_well() -> None:
    """A timer that came for nobody is set again."""

    async def ended() -> list[str]:
        gone: list[str] = []
        deadlines = Deadlines[str](180, gone.append)
        deadlines.begin("leaves")
        assert deadlines.over("leaves")
        await asyncio.sleep(600)
        deadlines.begin("stays")
        await asyncio.sleep(600)
        assert not deadlines.over("stays")
        return gone

    assert virtually(ended) == ["stays"]


def test_a_task_that_does_not_leave_in_time_hears_so() -> None:
    """It is a TimeoutError, as of asyncio.timeout, and the task goes on from there."""

    async def late() -> tuple[int, int]:
        with pytest.raises(TimeoutError), Within(of_tasks()):
            await asyncio.sleep(600)
        gone = round(now())
        await asyncio.sleep(1)
        task = asyncio.current_task()
        assert task is not None
        return gone, task.cancelling()

    assert virtually(late) == (180, 0)


@pytest.mark.parametrize("case", ["in time", "late as well", "closed"])
def test_who_is_cancelled_by_others_stays_so(case: str) -> None:
    """Also where the deadline has come at the same time, or nobody keeps it any more."""

    async def cancelled() -> bool:
        deadlines = of_tasks()

        async def wait() -> None:
            with Within(deadlines):
                await asyncio.sleep(600)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        if case == "late as well":
            deadlines.over(task)
            task.cancel()
        elif case == "closed":
            deadlines.close()
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert virtually(cancelled)


def test_what_else_is_raised_passes() -> None:
    """An error of what is done in time is that error, and no timer comes for it later."""

    async def raising() -> None:
        with pytest.raises(ValueError, match="mine"), Within(of_tasks()):
            raise ValueError("mine")
        await asyncio.sleep(600)

    virtually(raising)
