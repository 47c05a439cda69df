"""Metrics: a small run counted by hand."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import log2

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.messages import (
    ActionTaken,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    GroundingKind,
    Message,
    ModelReplied,
    Phase,
    RunEnded,
    UserResponded,
    number,
)
from sim.metrics.bands import STARTS, Band
from sim.metrics.metrics import CurvePoint, Measured, Metrics, MetricsFollower
from storage.catalog import Catalog

CATALOG = Catalog(
    titles=("Alpha", "Beta", "Gamma", "Delta"),
    categories=(("War",), ("Drama", "War"), (), ("Art",)),
    popularity=np.array([7, 3, 1, 1]),
)
START = EpisodeStarted(user=0, session=0, arrival=0, history=(), memories=())
END = RunEnded(episodes=0, failed=0)


def action(item: int, grounding: GroundingKind = "exact") -> ActionTaken:
    return ActionTaken(step=0, item=item, title="", words="", grounding=grounding, distance=0.0)


def response(reward: float, reason: str | None = None) -> UserResponded:
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


def start(phase: Phase, user: int = 0) -> EpisodeStarted:
    return EpisodeStarted(user=user, session=0, arrival=0, history=(), memories=(), phase=phase)


def limited(*items: int, reward: float = 3.0, begin: EpisodeStarted = START) -> list[Message]:
    """Return an episode of *items* that the limit cut short."""
    steps: list[Message] = [m for item in items for m in (action(item), response(reward))]
    end = EpisodeEnded(length=len(items), reward=reward * len(items), reason="limit")
    return [begin, *steps, end]


LEFT: list[Message] = [
    *(START, action(0), response(1.0, "reward")),
    EpisodeEnded(length=1, reward=1.0, reason="quit"),
]


def followed(messages: Sequence[Message], catalog: Catalog = CATALOG) -> Measured:
    follower = MetricsFollower(catalog)
    for message in messages:
        follower(Envelope(episode=0, n=0, cause=None, time=0, message=message))
    assert follower.result() == follower.measured().main
    return follower.measured()


def measured(*messages: Message) -> Metrics:
    return followed(messages).main


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
        users=1,
        steps=4,
        len=2.0,
        r_each=3.375,  # 13.5 ÷ 4
        r_traj=6.75,  # (11 + 2.5) ÷ 2
        coverage=0.5,  # War and Drama of 3, Art of 3: (2/3 + 1/3) ÷ 2
        entropy=1.37095,  # War 3, Drama 1, Art 1: 3/5·log₂(5/3) + 2·1/5·log₂5
        repeats_share=0.25,
        distinct_items=3,
        items_coverage=0.75,
        mcd=0.75,  # War alone covers 10 of the 11 interactions with items that have categories
        ild=0.333333,  # Alpha and Beta share 1 of 2 categories: (1/2 + 1/2 + 0) ÷ 3; and no more
        novelty=1.75,  # 12 interactions and 4 items: −log₂ of 8/16 twice, of 4/16 and of 2/16
        gini=0.375,  # counts 0, 1, 1, 2: (−3·0 − 1·1 + 1·1 + 3·2) ÷ (4 · 4)
        quits={"limit": 1, "similar": 1},
        by_step=(
            Band(first=0, last=0, episodes=2, reward=3.25, left=0.0),
            Band(first=1, last=1, episodes=1, reward=3.0, left=0.0),
            Band(first=2, last=4, episodes=1, reward=4.0, left=1.0),
        ),
        groundings={"exact": 2, "fallback": 1, "fuzzy": 1},
        unreadable=4,  # replies 1, then 1 and 2, and the one that led to the fallback
        fallbacks=1,
    )


def test_a_run_of_nothing_is_all_noughts() -> None:
    """No episode, or only failed ones: no number is undefined."""
    nothing = measured(END)
    assert {v for v in msgspec.to_builtins(nothing).values() if v not in ({}, ())} == {0}
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
    assert measured(*limited(0), *limited(0), END).repeats_share == 0
    assert measured(*limited(0, 0, 0, 1), END).repeats_share == 0.5


def test_one_category_has_no_entropy() -> None:
    """And it is 0, not −0."""
    assert repr(measured(*limited(0, 0), END).entropy) == "0.0"


def test_an_episode_counts_when_the_next_begins() -> None:
    """Progress shows what was released so far, and no half of an episode."""
    follower = MetricsFollower(CATALOG)
    lengths = []
    for message in (*limited(0, 1), *limited(0), END):
        follower(Envelope(episode=0, n=0, cause=None, time=0, message=message))
        lengths.append(follower.so_far().len)
    assert lengths == [0.0] * 6 + [2.0] * 4 + [1.5]


@given(st.lists(st.sampled_from([3.0, 0.1, 4.7]), min_size=1, max_size=9))
@settings(deadline=None)
def test_sums_do_not_depend_on_the_order_of_steps(rewards: list[float]) -> None:
    """Except for what is told by step."""
    steps = [m for reward in rewards for m in (action(0), response(reward))]
    backwards = [m for reward in reversed(rewards) for m in (action(0), response(reward))]
    one, other = measured(START, *steps, END), measured(START, *backwards, END)
    assert msgspec.structs.replace(one, by_step=other.by_step) == other


# -- what is not known


def test_the_quitting_step_counts_without_a_response() -> None:
    """As recordings tell it: Len 3, but the mean of two rewards, and nobody knows why."""
    ended = EpisodeEnded(length=3, reward=7.0, reason="quit")
    told = (action(0), response(3.0), action(1), response(4.0), action(3), ended)
    metrics = measured(START, *told, END)
    assert (metrics.steps, metrics.len, metrics.r_each, metrics.r_traj) == (3, 3.0, 3.5, 7.0)
    assert metrics.quits == {"unknown": 1}
    last = Band(first=2, last=4, episodes=1, reward=None, left=1.0)
    assert metrics.by_step[-1] == last


def test_a_reward_in_between_may_be_unknown() -> None:
    """It is missing where it is missing, and not at the end."""
    told = (action(0), action(1), response(4.0, "reward"))
    bands = measured(START, *told, END).by_step
    assert [band.reward for band in bands] == [None, 4.0]


# -- over time within the episode


def test_bands_widen() -> None:
    """They follow each other without gaps, as 1, 2 and 5 do."""
    assert STARTS[:9] == (0, 1, 2, 5, 10, 20, 50, 100, 200)
    bands = measured(*limited(*[0] * 120), END).by_step
    assert [(band.first, band.last) for band in bands] == [
        *((0, 0), (1, 1), (2, 4), (5, 9), (10, 19), (20, 49), (50, 99), (100, 199)),
    ]


def test_who_left_where_is_told() -> None:
    """One user of three leaves at step 0, one stays to the limit at step 1, one leaves at 2."""
    late: list[Message] = [START, *[m for _ in range(3) for m in (action(0), response(2.0))]]
    late[-1] = response(1.0, "reward")
    late.append(EpisodeEnded(length=3, reward=5.0, reason="quit"))
    assert measured(*LEFT, *limited(0, 1), *late, END).by_step == (
        Band(first=0, last=0, episodes=3, reward=2.0, left=0.333333),
        Band(first=1, last=1, episodes=2, reward=2.5, left=0.0),
        Band(first=2, last=4, episodes=1, reward=1.0, left=1.0),
    )


lengths = st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=6)


@given(lengths)
@settings(deadline=None, max_examples=50)
def test_who_got_there_and_did_not_leave_goes_on_or_was_cut(ends: list[tuple[int, bool]]) -> None:
    """Episodes only get fewer, and nobody leaves twice."""
    run: list[Message] = []
    for length, quits in ends:
        episode = limited(*[0] * length)
        if quits:
            episode[-2:] = [
                response(1.0, "reward"),
                EpisodeEnded(length=length, reward=1.0, reason="quit"),
            ]
        run += episode
    bands = measured(*run, END).by_step
    left = [round(band.left * band.episodes) for band in bands]
    assert sum(left) == sum(quits for _, quits in ends)
    assert bands[0].episodes == len(ends)
    for (band, gone), (following, _) in pairwise(zip(bands, left, strict=True)):
        assert following.episodes <= band.episodes - gone


# -- training and tests


def rounds(*, tests: int) -> list[Message]:
    """Return a run: a test, and another one after each training episode, of 1, 2, … steps."""
    run = limited(1, reward=1.0, begin=start("test", 7))
    for count in range(1, tests):
        run += limited(*[0] * count)
        run += limited(*[1] * count, reward=2.0, begin=start("test", 7))
        run += limited(3, reward=2.0, begin=start("test", 8))
    return [*run, END]


def test_a_run_without_a_test_is_measured_whole() -> None:
    found = followed(RUN)
    assert (found.train, found.curve) == (None, ())
    assert (found.episodes, found.steps, found.rewards) == (2, 4, 13.5)


def test_a_test_is_what_counts() -> None:
    """Its metrics are the main ones; those of the training stand beside."""
    test = limited(1, 1, reward=4.0, begin=start("test"))
    found = followed([*limited(0), *test, END])
    assert found.main == measured(*limited(1, 1, reward=4.0), END)
    assert found.train == measured(*limited(0), END)
    assert (found.curve, found.episodes, found.steps, found.rewards) == ((), 2, 3, 11.0)


def test_the_last_of_several_tests_is_what_counts() -> None:
    """And each is a point of a curve, after so many training episodes."""
    found = followed(rounds(tests=3))
    assert (found.main.episodes, found.main.users, found.main.steps) == (2, 2, 3)
    assert found.train == measured(*limited(0), *limited(0, 0), END)
    assert found.curve == (
        CurvePoint(trained=0, episodes=1, len=1.0, r_each=1.0, r_traj=1.0),
        CurvePoint(trained=1, episodes=2, len=1.0, r_each=2.0, r_traj=2.0),
        CurvePoint(trained=2, episodes=2, len=1.5, r_each=2.0, r_traj=3.0),
    )


def test_failures_are_those_of_their_phase() -> None:
    """A training episode that failed has been trained on nevertheless, says the curve."""
    failed: list[Message] = [START, action(0), EpisodeFailed(why="…")]
    test = limited(1, begin=start("test"))
    found = followed([*test, *failed, *test, start("test"), EpisodeFailed(why="…"), END])
    assert found.train is not None
    assert (found.train.failed, found.main.failed, found.main.episodes) == (1, 1, 1)
    assert [point.trained for point in found.curve] == [0, 1]


def test_a_test_that_failed_is_a_test() -> None:
    """Numbers of the training never stand in for those of a test."""
    found = followed([*limited(0), start("test"), EpisodeFailed(why="…"), END])
    assert (found.main.episodes, found.main.failed) == (0, 1)


phases: st.SearchStrategy[list[tuple[Phase, int]]] = st.lists(
    st.tuples(st.sampled_from(["train", "test"]), st.integers(1, 7)), max_size=9
)


@given(phases)
@settings(deadline=None)
def test_phases_add_up(visits: list[tuple[Phase, int]]) -> None:
    """Training and tests together are the run, whatever the order."""
    run = [m for phase, count in visits for m in limited(*[0] * count, begin=start(phase))]
    found = followed([*run, END])
    whole = measured(*[START if isinstance(m, EpisodeStarted) else m for m in run], END)
    assert (found.episodes, found.steps) == (whole.episodes, whole.steps)
    parts = found.curve or ([found.main] if found.train else [])
    tested = sum(part.episodes for part in parts)
    assert tested == sum(phase == "test" for phase, _ in visits)
    assert (found.train or whole).episodes == len(visits) - tested


def test_the_catalogs_popularity_makes_the_difference() -> None:
    """The same recommendations, in worlds where others are popular."""
    run = [*limited(3, 3), END]
    other = replace(CATALOG, popularity=np.array([0, 0, 0, 12]))
    rare, common = followed(run).main, followed(run, other).main
    assert (rare.mcd, common.mcd) == (0.0, 1.0)
    assert (rare.novelty, common.novelty) == (3.0, number(-log2(13 / 16)))
