"""Arrivals: who comes when, and when that is known."""

from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.arrivals import ONCE, Arrivals, Part, Returns, Visit, arrivals, exponential
from engine.chance import Stream, chance
from engine.errors import ConfigError
from engine.messages import EpisodeEnded

VISITORS = [(5, 0), (3, 1), (3, 0), (9, 0), (1, 0)]


def stream() -> Stream:
    return chance(0, 0, 0, 0, "arrivals")


def rule(text: str, count: int | None = None, delay: int = 0) -> Arrivals:
    visitors = VISITORS if count is None else [(user, 0) for user in range(count)]
    return arrivals([Part(text, visitors)], delay=delay, stream=stream())


def drawn(coming: Arrivals) -> list[Visit]:
    """Start every visit as soon as it is known."""
    started = []
    while (visit := coming.upcoming()) is not None:
        coming.started()
        started.append(visit)
    return started


class Fixed(Stream):
    """A stream that gives one word for ever."""

    __slots__ = ("fixed",)

    def __init__(self, word: int) -> None:
        super().__init__(b"")
        self.fixed = word

    def word(self) -> int:
        return self.fixed


def test_visits_are_ordered_by_arrival_then_user_then_session() -> None:
    visits = [Visit(2, 0, 0), Visit(1, 2, 1), Visit(1, 2, 0), Visit(1, 0, 1), Visit(0, 9, 9)]
    assert sorted(visits) == visits[::-1]


def test_all_come_at_once() -> None:
    assert drawn(rule("all")) == [
        Visit(0, user, session) for user, session in [(1, 0), (3, 0), (3, 1), (5, 0), (9, 0)]
    ]


def test_upcoming_stays_until_it_is_started() -> None:
    """Asking twice is not arriving twice."""
    for text in ("all", "batches:2", "poisson:1"):
        coming = rule(text)
        assert coming.upcoming() == coming.upcoming()


def test_a_batch_is_the_next_visitors_in_order() -> None:
    """The first two of the list, whoever they are; in a batch the lower user goes first."""
    assert drawn(rule("batches:2")) == [Visit(0, 3, 1), Visit(0, 5, 0)]


def test_a_batch_is_unknown_until_the_last_has_ended() -> None:
    coming = rule("batches:2")
    drawn(coming)
    assert coming.upcoming() is None
    coming.closed(700)
    assert coming.upcoming() is None
    assert not coming.exhausted()
    coming.closed(20)
    assert coming.upcoming() is not None


@given(ends=st.lists(st.integers(0, 10**6), min_size=2, max_size=2), delay=st.integers(0, 10**6))
def test_a_batch_comes_1_ms_after_largest_end_and_delay(ends: list[int], delay: int) -> None:
    """Later than what the last batch wrote becomes visible, in whatever order it was closed."""
    coming = rule("batches:2", delay=delay)
    drawn(coming)
    for end in ends:
        coming.closed(end)
    assert {visit.arrival for visit in drawn(coming)} == {max(ends) + delay + 1}


def test_the_last_batch_takes_who_is_left() -> None:
    coming = rule("batches:3")
    drawn(coming)
    for _ in range(3):
        coming.closed(10)
    assert [visit.user for visit in drawn(coming)] == [1, 9]
    assert coming.exhausted()


@pytest.mark.parametrize("text", ["all", "poisson:2.5"])
def test_known_arrivals_are_exhausted_when_all_have_started(text: str) -> None:
    coming = rule(text)
    before = coming.exhausted()
    drawn(coming)
    coming.closed(5)
    assert (before, coming.exhausted(), coming.upcoming()) == (False, True, None)


def test_poisson_arrivals_are_the_same_everywhere() -> None:
    assert [visit.arrival for visit in drawn(rule("poisson:2", 5))] == [
        1068,
        1249,
        1423,
        2034,
        2860,
    ]


def test_poisson_arrivals_keep_their_rate() -> None:
    """4 a second: the gaps are 250 ms on average, and as often short as exponential ones are."""
    times = [visit.arrival for visit in drawn(rule("poisson:4", 4_000))]
    gaps = [after - before for before, after in pairwise(times)]
    assert fmean(gaps) == pytest.approx(250, rel=0.05)
    assert fmean(gap < 250 for gap in gaps) == pytest.approx(0.632, abs=0.02)


@pytest.mark.parametrize("text", ["poisson:1000000", "poisson:0.000001"])
def test_extreme_rates_can_be_used(text: str) -> None:
    times = [visit.arrival for visit in drawn(rule(text, 10))]
    assert times == sorted(times)


def test_exponential_numbers_reach_from_0_as_far_as_a_word_does() -> None:
    assert exponential(Fixed((1 << 64) - 1), 1_000) == 0
    assert exponential(Fixed(0), 1_000) == 44_361  # 1000 × 64 × ln 2
    assert exponential(Fixed((1 << 63) - 1), 1_000) == 693


@given(seed=st.integers(0, 10**6), least=st.integers(0, 10**6), mean=st.integers(0, 10**6))
def test_nobody_returns_before_the_least_gap(seed: int, least: int, mean: int) -> None:
    gap = Returns(sessions=2, least=least, mean=mean).gap(chance(seed, 0, 0, 0, "return"))
    assert gap is not None
    assert least <= gap <= least + 45 * mean


@pytest.mark.parametrize(("likely", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_users_come_back_as_retention_says(likely: float, share: float) -> None:
    """With its probability, after so many times the usual mean gap; after a failure they all do."""
    ended = EpisodeEnded(length=1, reward=4.0, reason="quit")
    returns = Returns(sessions=2, least=100, mean=1_000, retention=lambda _: (likely, 3.0))
    streams = [chance(seed, 0, 0, 0, "return") for seed in range(2_000)]
    gaps = [gap for stream in streams if (gap := returns.gap(stream, ended)) is not None]
    assert len(gaps) / 2_000 == pytest.approx(share, abs=0.03)
    if gaps:
        assert fmean(gaps) == pytest.approx(3_100, rel=0.15)
    assert returns.gap(chance(5, 0, 0, 0, "return")) is not None


def test_who_always_comes_back_draws_one_number() -> None:
    """Whether it was said or not: so gaps are as they were."""
    ended = EpisodeEnded(length=1, reward=4.0, reason="quit")
    returns = Returns(sessions=2, least=0, mean=1_000)
    streams = [chance(1, 0, 0, 0, "return") for _ in range(2)]
    assert returns.gap(streams[0], ended) == returns.gap(streams[1])
    assert streams[0].word() == streams[1].word()


def test_once_means_one_session() -> None:
    assert ONCE.sessions == 1


@pytest.mark.parametrize(
    "text",
    [
        *("", "some", "all:3", "batches", "batches:", "batches:0", "batches:-1", "batches:x"),
        *("poisson", "poisson:0", "poisson:-1", "poisson:nan", "poisson:inf", "poisson:x", "ALL"),
    ],
)
def test_a_rule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="arrivals cannot be") as caught:
        rule(text)
    assert repr(text) in str(caught.value)
    assert "batches:N" in caught.value.hint
