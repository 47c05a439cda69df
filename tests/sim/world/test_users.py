"""The simulated user, on a real bus with a scripted policy."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agents.trajectory import Delivery, Trajectory, folding
from engine.arrivals import Listed, Visit
from engine.bus import Bus
from engine.calls import Call
from engine.chance import chance
from engine.messages import (
    ActionTaken,
    Envelope,
    EpisodeEnded,
    EpisodeStarted,
    MemoryLength,
    Message,
    ModelReplied,
    PlanRequested,
    Rated,
    RunStarted,
    UserResponded,
)
from engine.records import Vector
from engine.scheduler import Scheduler
from sim.world.quitting.billp import BILLP, QuitSettings
from sim.world.rewards import RewardSettings
from sim.world.users import Users
from tests.support.encounters import small_world

WORLD = small_world((4.0, 3.5, 3.0, 1.5, 5.0), same=(0, 4))
TITLES = WORLD.catalog.titles

USERS = Users(
    environment=WORLD,
    rule=BILLP,
    quitting=QuitSettings(),
    rewards=RewardSettings(satiation=(0.0, 0.0)),
    limit=10,
    history=2,
    least_dwell=5_000,
    most_dwell=60_000,
)


async def mute(call: Call, request: object) -> ModelReplied:
    raise AssertionError(f"nobody asks, got {request!r}")


async def blind(lines: Sequence[str]) -> Vector:
    raise AssertionError(f"nobody embeds, got {lines!r}")


def visited(users: Users, items: Sequence[int], *, user: int = 0) -> list[Envelope[Message]]:
    """Return the envelopes of a visit in which *items* are recommended one after the other."""

    async def recommend(delivery: Delivery[PlanRequested]) -> None:
        step = delivery.message.step
        item = items[step]
        delivery.publish(
            ActionTaken(
                step=step,
                item=item,
                title=TITLES[item],
                words="",
                grounding="policy",
                distance=0.0,
            )
        )

    bus: Bus[Trajectory] = Bus()
    bus.subscribe(EpisodeStarted, users.arrive)
    bus.subscribe(ActionTaken, users.respond)
    bus.subscribe(UserResponded, users.go_on)
    bus.subscribe(PlanRequested, recommend)
    heard: list[Envelope[Message]] = []
    bus.follow(Message, heard.append, essential=True)
    scheduler = Scheduler(
        bus=bus,
        arrivals=Listed(deque([Visit(0, user, 0)])),
        memories={},
        answer=mute,
        embed=blind,
        fold=folding(users.environment.catalog),
        opening=users.opening,
        seed=3,
    )
    head = RunStarted(schema=1, agent="", model="", environment="", seed=3, settings=())
    ended = asyncio.run(scheduler.run(head))
    assert ended.failed == 0
    return [envelope for envelope in heard if envelope.episode is not None]


def messages(users: Users, items: Sequence[int], *, user: int = 0) -> list[Message]:
    return [envelope.message for envelope in visited(users, items, user=user)]


def responses(users: Users, items: Sequence[int], *, user: int = 0) -> list[UserResponded]:
    told = messages(users, items, user=user)
    return [message for message in told if isinstance(message, UserResponded)]


def ending(users: Users, items: Sequence[int]) -> EpisodeEnded:
    (ended,) = (m for m in messages(users, items) if isinstance(m, EpisodeEnded))
    return ended


def test_a_visit_opens_with_the_end_of_the_history() -> None:
    """The last items and their ratings, oldest first, with where and when the user comes."""
    memories = (MemoryLength(memory="actor", length=4),)
    assert USERS.opening(Visit(arrival=70, user=0, session=2), memories) == EpisodeStarted(
        user=0,
        session=2,
        arrival=70,
        history=(
            Rated(item=2, title="Gamma", rating=3.25),
            Rated(item=1, title="Beta", rating=1.0),
        ),
        memories=memories,
    )


def test_a_short_history_is_shown_whole() -> None:
    opening = USERS.opening(Visit(arrival=0, user=1, session=0), ())
    assert opening.history == (Rated(item=3, title="Delta", rating=5.0),)


def test_a_user_asks_as_long_as_there_is_more_to_come() -> None:
    """One request, one recommendation, one response a step; then the end."""
    kinds = [type(message).__name__ for message in messages(replace(USERS, limit=2), [0, 1])]
    step = ["PlanRequested", "ActionTaken", "UserResponded"]
    assert kinds == ["EpisodeStarted", *step, *step, "EpisodeEnded", "EpisodeSettled"]


def test_the_reward_is_the_true_one() -> None:
    """Also of the item that makes the user leave; other users, other rewards."""
    assert [r.reward for r in responses(USERS, [0, 1, 2, 3])] == [4.0, 3.5, 3.0, 1.5]
    assert [r.reward for r in responses(USERS, [0, 3], user=1)] == [3.5, 1.0]


def test_a_bored_user_leaves() -> None:
    """Omega is near Alpha, which is within the window."""
    responded = responses(USERS, [0, 1, 4])
    assert [(r.left, r.reason) for r in responded] == [
        (False, None),
        (False, None),
        (True, "similar"),
    ]
    assert ending(USERS, [0, 1, 4]) == EpisodeEnded(length=3, reward=12.5, reason="quit")


def test_a_disappointed_user_leaves() -> None:
    assert responses(USERS, [3])[-1].reason == "reward"
    assert ending(USERS, [1, 3]) == EpisodeEnded(length=2, reward=5.0, reason="quit")


def test_the_limit_cuts_an_episode_short() -> None:
    """The user has not left."""
    users = replace(USERS, limit=3)
    assert not responses(users, [0, 1, 2])[-1].left
    assert ending(users, [0, 1, 2]) == EpisodeEnded(length=3, reward=10.5, reason="limit")


def test_leaving_at_the_limit_is_leaving() -> None:
    users = replace(USERS, limit=2)
    assert ending(users, [0, 3]).reason == "quit"


@pytest.mark.parametrize("window", [0, 1])
def test_the_window_is_the_quit_rules(window: int) -> None:
    """Alpha is two steps ago: outside of a window of one, or of none."""
    users = replace(USERS, quitting=QuitSettings(window=window), limit=3)
    assert ending(users, [0, 1, 4]).reason == "limit"


@pytest.mark.parametrize("window", [0, 4])
def test_a_user_may_bear_a_bad_first_item(window: int) -> None:
    """What the authors' code does, whatever the window; the second item is judged."""
    rule = QuitSettings(window=window, first_step=False)
    users = replace(USERS, quitting=rule)
    assert [r.left for r in responses(users, [3, 3])] == [False, True]


def test_dwelling_takes_virtual_time() -> None:
    """Nothing else does: each response comes as late as the user's own stream says."""
    times = [e.time for e in visited(USERS, [0, 1, 3]) if isinstance(e.message, UserResponded)]
    draws = [chance(3, 0, 0, step, "dwell").integer(55_001) + 5_000 for step in range(3)]
    assert times == [sum(draws[: step + 1]) for step in range(3)]
    asked = [e.time for e in visited(USERS, [0, 1, 3]) if isinstance(e.message, PlanRequested)]
    assert asked == [0, *times[:2]]


def test_a_user_may_dwell_always_as_long() -> None:
    users = replace(USERS, least_dwell=7, most_dwell=7, limit=2)
    times = [e.time for e in visited(users, [0, 1]) if isinstance(e.message, UserResponded)]
    assert times == [7, 14]


def test_dwelling_does_not_depend_on_what_is_shown() -> None:
    """A user's chance is the user's: another recommendation draws the same time."""
    one, other = visited(USERS, [0, 3]), visited(USERS, [1, 3])
    assert [envelope.time for envelope in one] == [envelope.time for envelope in other]


@pytest.mark.parametrize(("item", "longest"), [(4, 100), (0, 75), (3, 12)])
def test_dwelling_may_depend_on_the_reward(item: int, longest: int) -> None:
    """Wholly: then nothing of it is chance; by half, half of it is."""
    users = replace(USERS, least_dwell=0, most_dwell=100, dwell_by_reward=1.0, limit=1)
    assert visited(users, [item])[3].time == longest
    half = visited(replace(users, dwell_by_reward=0.5), [item])[3].time
    drawn = chance(3, 0, 0, 0, "dwell").integer(101)
    reward = WORLD.factors.reward(0, item)
    assert half == int(0.5 * drawn + 0.5 * (reward - 1) / 4 * 100)
