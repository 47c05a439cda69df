"""Shared limits: each run takes its part, and together they never take more than all."""

import asyncio
from pathlib import Path

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.guards.limiter import Limiter, Limits
from engine.errors import FileError
from sim.runs.sharing import Shares, sharing

LIMITS = Limits(in_flight=8, requests_per_minute=600, tokens_per_minute=9_000)
BEAT = 0.02
SLOW = 0.3  # a lease is dead after six: a busy machine is not to be taken for that


class Watched(Limiter):
    """Tells when its limits change."""

    def __init__(self) -> None:
        super().__init__(EmbeddedModel(), LIMITS)
        self.changed = asyncio.Event()

    def change(self, limits: Limits) -> None:
        super().change(limits)
        self.changed.set()


def limiter() -> Watched:
    return Watched()


def rates(*limiters: Limiter) -> list[float | None]:
    return [one.limits.requests_per_minute for one in limiters]


async def until(one: Watched, expected: list[float | None]) -> None:
    """Return when the limiter keeps what is *expected*; fail after a minute."""
    async with asyncio.timeout(60):
        while rates(one) != expected:
            one.changed.clear()
            await one.changed.wait()


def test_requests_and_tokens_are_divided_and_calls_in_flight_are_not() -> None:
    one = limiter()
    Shares([one]).divide(3)
    assert one.limits == Limits(in_flight=8, requests_per_minute=200, tokens_per_minute=3_000)


def test_limits_set_by_hand_stay() -> None:
    """Who watches a run has changed them: the next look at the leases does not undo it."""
    one = limiter()
    shares = Shares([one])
    shares.divide(2)
    one.change(Limits(in_flight=8, requests_per_minute=5))
    shares.divide(4)
    assert rates(one) == [5]


def test_without_a_directory_limits_are_ones_own() -> None:
    async def main() -> list[float | None]:
        one = limiter()
        async with sharing("", [one]):
            return rates(one)

    assert asyncio.run(main()) == [600]


def test_a_newcomer_begins_with_its_part(tmp_path: Path) -> None:
    """Who had all has half as soon as it looks again."""

    async def main() -> list[float | None]:
        first, second = limiter(), limiter()
        async with sharing(str(tmp_path), [first], SLOW):
            had = rates(first)
            async with sharing(str(tmp_path), [second], SLOW):
                began = rates(second)
                await until(first, [300])
                return had + began

    assert asyncio.run(main()) == [600, 300]


def test_what_is_given_back_is_taken_by_others(tmp_path: Path) -> None:
    async def main() -> list[float | None]:
        first, second = limiter(), limiter()
        async with sharing(str(tmp_path), [first], BEAT):
            async with sharing(str(tmp_path), [second], BEAT):
                pass
            await until(first, [600])
            return rates(first)

    assert asyncio.run(main()) == [600]


def test_a_directory_that_is_lost_stops_the_run(tmp_path: Path) -> None:
    """With one plain error: others would take its part while it went on."""

    async def main() -> None:
        async with sharing(str(tmp_path / "leases"), [limiter()], BEAT):
            (tmp_path / "leases").rename(tmp_path / "gone")
            await asyncio.sleep(60)

    with pytest.raises(FileError, match="leases cannot be kept there"):
        asyncio.run(main())
