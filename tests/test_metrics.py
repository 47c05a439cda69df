"""Metrics: a small run counted by hand."""

from collections import Counter
from math import log2

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.messages import (
    ActionTaken,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    GroundingKind,
    LeaveReason,
    Message,
    ModelReplied,
    RunEnded,
    UserResponded,
)
from sim.metrics import Metrics, MetricsFollower, entropy
from storage.catalog import Catalog

CATALOG = Catalog(
    titles=("Alpha", "Beta", "Gamma", "Delta"),
    categories=(("War",), ("Drama", "War"), (), ("Art",)),
    popularity=np.array([1, 1, 1, 1]),
)
START = EpisodeStarted(user=0, session=0, arrival=0, history=(), memories=())
END = RunEnded(episodes=0, failed=0)


def action(item: int, grounding: GroundingKind = "exact") -> ActionTaken:
    return ActionTaken(step=0, item=item, title="", words="", grounding=grounding, distance=0.0)


def response(reward: float, reason: LeaveReason | None = None) -> UserResponded:
    return UserResponded(step=0, reward=reward, left=reason is not None, reason=reason)


def reply(occurrence: int) -> ModelReplied:
    return ModelReplied(
        step=0,
        role="actor",
        occurrence=occurrence,
        request="",
        text="",
        prompt_tokens=0,
        completion_tokens=0,
    )


def limited(*items: int, reward: float = 3.0) -> list[Message]:
    """Return an episode of *items* that the limit cut short."""
    steps: list[Message] = [m for item in items for m in (action(item), response(reward))]
    end = EpisodeEnded(length=len(items), reward=reward * len(items), reason="limit")
    return [START, *steps, end]


LEFT: list[Message] = [
    *(START, action(0), response(1.0, "reward")),
    EpisodeEnded(length=1, reward=1.0, reason="quit"),
]


def measured(*messages: Message) -> Metrics:
    follower = MetricsFollower(CATALOG)
    for message in messages:
        follower(Envelope(episode=0, n=0, cause=None, time=0, message=message))
    return follower.result()


RUN: list[Message] = [
    # Alpha, Beta, Alpha again; the third is too like the first.
    *(START, reply(0), action(0), response(4.0)),
    *(reply(0), reply(1), action(1, "fuzzy"), response(3.0)),
    *(action(0), response(4.0, "similar")),
    EpisodeEnded(length=3, reward=11.0, reason="quit"),
    # Delta only, chosen because no reply could be read.
    *(START, reply(0), reply(1), reply(2), action(3, "fallback"), response(2.5)),
    EpisodeEnded(length=1, reward=2.5, reason="limit"),
    # Failed after a step: it counts for nothing.
    *(START, reply(1), action(2, "nearest"), response(5.0), EpisodeFailed(why="…")),
    END,
]


def test_a_run_is_counted_by_hand() -> None:
    """Two episodes of 3 and 1 steps, and a failed one that leaves no mark on the numbers."""
    assert measured(*RUN) == Metrics(
        episodes=2,
        failed=1,
        steps=4,
        len=2.0,
        r_each=3.375,  # 13.5 ÷ 4
        r_traj=6.75,  # (11 + 2.5) ÷ 2
        coverage=0.5,  # War and Drama of 3, Art of 3: (2/3 + 1/3) ÷ 2
        entropy=1.37095,  # War 3, Drama 1, Art 1: 3/5·log₂(5/3) + 2·1/5·log₂5
        repeats=0.25,
        distinct_items=3,
        quits={"limit": 1, "similar": 1},
        groundings={"exact": 2, "fallback": 1, "fuzzy": 1},
        unreadable=4,  # replies 1, then 1 and 2, and the one that led to the fallback
        fallbacks=1,
    )


def test_a_run_of_nothing_is_all_noughts() -> None:
    """No episode, or only failed ones: no number is undefined."""
    nothing = measured(END)
    assert {v for v in msgspec.to_builtins(nothing).values() if v != {}} == {0}
    failed = measured(START, EpisodeFailed(why="…"), END)
    assert failed == msgspec.structs.replace(nothing, failed=1)


def test_a_low_reward_is_a_reason_of_its_own() -> None:
    """Episodes are counted by why users left."""
    assert measured(*LEFT, *limited(1), *LEFT, END).quits == {"limit": 1, "reward": 2}


def test_the_reason_is_that_of_the_last_step() -> None:
    """A user who left says nothing of the next."""
    assert measured(*LEFT, *limited(1), END).quits == {"limit": 1, "reward": 1}


def test_repeats_are_counted_within_an_episode() -> None:
    """The same item for another user is no repetition."""
    assert measured(*limited(0), *limited(0), END).repeats == 0
    assert measured(*limited(0, 0, 0, 1), END).repeats == 0.5


def test_one_category_has_no_entropy() -> None:
    """And it is 0, not −0."""
    assert repr(measured(*limited(0, 0), END).entropy) == "0.0"


def test_an_episode_counts_when_the_next_begins() -> None:
    """Progress shows what was released so far, and no half of an episode."""
    follower = MetricsFollower(CATALOG)
    lengths = []
    for message in (*limited(0, 1), *limited(0), END):
        follower(Envelope(episode=0, n=0, cause=None, time=0, message=message))
        lengths.append(follower.len_so_far())
    assert lengths == [0.0] * 6 + [2.0] * 4 + [1.5]


@given(st.lists(st.sampled_from([3.0, 0.1, 4.7]), min_size=1, max_size=9))
@settings(deadline=None)
def test_sums_do_not_depend_on_the_order_of_steps(rewards: list[float]) -> None:
    steps = [m for reward in rewards for m in (action(0), response(reward))]
    backwards = [m for reward in reversed(rewards) for m in (action(0), response(reward))]
    assert measured(START, *steps, END) == measured(START, *backwards, END)


@pytest.mark.parametrize("count", [1, 2, 8, 1000])
def test_equal_shares_have_the_most_entropy(count: int) -> None:
    """It is the logarithm of their number."""
    equal = Counter({str(name): 5 for name in range(count)})
    assert entropy(equal) == pytest.approx(log2(count))
    assert entropy(equal + Counter({"0": 20})) <= entropy(equal)
