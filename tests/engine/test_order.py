"""Release: what followers hear, in which order, and what becomes of those that raise."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from engine.messages import Envelope, EpisodeFailed, EpisodeSettled, Message, PlanRequested
from engine.order import Follower, Following, Release
from engine.tree import encode


def lines(episode: int) -> bytes:
    """Return an episode of two lines."""
    messages: list[Message] = [PlanRequested(step=episode), EpisodeSettled()]
    return b"".join(
        encode(Envelope(episode=episode, n=n, cause=None, time=0, message=message)) + b"\n"
        for n, message in enumerate(messages)
    )


def release_of(
    *followers: Follower, kind: type = PlanRequested, essential: bool = False
) -> Release:
    return Release(followings=[Following((kind,), each, essential) for each in followers])


def released(release: Release, episodes: Sequence[int]) -> None:
    """Add closed *episodes*, one after the other, and release until nothing can be."""

    async def main() -> None:
        task = asyncio.create_task(release.run(lambda: None))
        for episode in episodes:
            release.add(episode, lines(episode))
            await settle(task)
        task.cancel()

    asyncio.run(main())


async def settle(task: asyncio.Task[None]) -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)
        if task.done():
            task.result()


def broken(envelope: Envelope[Message]) -> None:
    raise RuntimeError("no room")


@given(order=st.permutations(range(6)))
def test_episodes_are_released_in_order(order: list[int]) -> None:
    heard: list[int | None] = []
    released(release_of(lambda envelope: heard.append(envelope.episode)), order)
    assert heard == list(range(6))


def test_an_episode_waits_for_all_before_it() -> None:
    heard: list[int | None] = []
    release = release_of(lambda envelope: heard.append(envelope.episode))
    released(release, [0, 2, 3])
    assert heard == [0]
    assert (release.released, release.waiting) == (1, 2)


def test_a_follower_hears_its_types_only() -> None:
    heard: list[str] = []
    release = release_of(lambda e: heard.append(type(e.message).__name__), kind=EpisodeSettled)
    released(release, [0, 1])
    assert heard == ["EpisodeSettled", "EpisodeSettled"]


def test_a_writer_gets_whole_episodes() -> None:
    """As the very lines, before any follower hears of them."""
    written: list[bytes] = []
    heard_after: list[int] = []

    class Writer:
        def write(self, lines: bytes) -> None:
            written.append(lines)

    release = release_of(lambda envelope: heard_after.append(len(written)))
    release.writers.append(Writer())
    released(release, [1, 0])
    assert written == [lines(0), lines(1)]
    assert heard_after == [1, 2]


def test_a_coroutine_function_is_awaited_in_its_turn() -> None:
    """Followers of one envelope hear it one after the other, in order of subscription."""
    heard: list[str] = []

    def follower(name: str, pauses: int) -> Callable[[Envelope[Message]], Awaitable[None]]:
        async def hear(envelope: Envelope[Message]) -> None:
            for _ in range(pauses):
                await asyncio.sleep(0)
            heard.append(f"{name}{envelope.episode}")

        return hear

    released(release_of(follower("slow", 5), follower("fast", 0)), [0, 1])
    assert heard == ["slow0", "fast0", "slow1", "fast1"]


def test_an_error_drops_an_ordinary_follower() -> None:
    """It is logged once, with its traceback; the others go on."""
    heard: list[int | None] = []
    release = release_of(broken, lambda envelope: heard.append(envelope.episode))
    with capture_logs() as logs:
        released(release, [0, 1, 2])
    assert heard == [0, 1, 2]
    assert [following.dropped for following in release.followings] == ["RuntimeError: no room", ""]
    (log,) = logs
    assert log["follower"] == "broken"
    assert log["exception"].endswith("RuntimeError: no room")


def test_an_error_of_an_essential_follower_is_raised() -> None:
    with pytest.raises(RuntimeError, match="no room"):
        released(release_of(broken, essential=True), [0])


def test_an_error_of_a_writer_is_raised() -> None:
    class Full:
        def write(self, lines: bytes) -> None:
            raise OSError("disk full")

    release = Release(writers=[Full()])
    with pytest.raises(OSError, match="disk full"):
        released(release, [0])
    assert release.released == 0


def test_a_slow_follower_holds_the_release() -> None:
    """What waits is counted, so that the scheduler can wait as well."""
    heard: list[int | None] = []

    async def slow(envelope: Envelope[Message]) -> None:
        heard.append(envelope.episode)
        await asyncio.Event().wait()

    release = release_of(slow)
    released(release, [0, 1, 2])
    assert heard == [0]
    assert (release.released, release.waiting) == (0, 3)


def test_every_release_is_told() -> None:
    async def main() -> list[int]:
        told: list[int] = []
        release = Release()
        task = asyncio.create_task(release.run(lambda: told.append(release.released)))
        for episode in (1, 2, 0):
            release.add(episode, lines(episode))
        await settle(task)
        task.cancel()
        return told

    assert asyncio.run(main()) == [1, 2, 3]


def test_lines_are_decoded_only_for_followers() -> None:
    """A run that is written only pays for no decoding: the lines need not even be envelopes."""
    release = Release()
    asyncio.run(release.hear(b"no envelope\n"))
    release.followings.append(Following((EpisodeFailed,), broken, essential=False))
    with pytest.raises(ValueError, match="malformed"):
        asyncio.run(release.hear(b"no envelope\n"))
