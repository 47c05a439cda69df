"""Chance: the same numbers for the same name, everywhere, and nobody's are shifted."""

from collections import Counter, deque
from collections.abc import Sequence
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chance import Stream, chance
from tests.support.drawn import CHARACTERS

NAMES = st.tuples(*[st.integers(0, 10**6)] * 4, st.text(CHARACTERS, max_size=10))


class Scripted(Stream):
    """A stream of given words."""

    __slots__ = ("words",)

    def __init__(self, *words: int) -> None:
        super().__init__(b"")
        self.words = deque(words)

    def word(self) -> int:
        return self.words.popleft()


def words(stream: Stream, count: int) -> list[int]:
    return [stream.word() for _ in range(count)]


def test_numbers_are_the_same_on_every_machine() -> None:
    """They stand here in black and white: another number is another world."""
    stream = chance(7, 1, 2, 3, "dwell")
    assert stream.word() == 7_610_977_615_686_461_686
    assert stream.integer(1_000) == 316
    assert stream.fraction() == 0.21209410557632902
    assert stream.shuffled("abcdef") == list("dabcef")


def test_a_stream_is_blake2b_in_counter_mode() -> None:
    key = blake2b(b"7/1/2/3/dwell", digest_size=32).digest()
    counters = (counter.to_bytes(8, "little") for counter in range(3))
    flow = b"".join(blake2b(counter, key=key).digest() for counter in counters)
    expected = [int.from_bytes(flow[at : at + 8], "little") for at in range(0, 192, 8)]
    assert words(chance(7, 1, 2, 3, "dwell"), 24) == expected


@given(name=NAMES, other=NAMES)
def test_streams_agree_only_if_their_names_do(
    name: tuple[int, int, int, int, str], other: tuple[int, int, int, int, str]
) -> None:
    assert (words(chance(*name), 9) == words(chance(*other), 9)) == (name == other)


def test_drawing_more_shifts_nobody_else() -> None:
    first, second = chance(0, 0, 0, 0, "a"), chance(0, 0, 0, 0, "b")
    words(first, 100)
    assert words(second, 5) == words(chance(0, 0, 0, 0, "b"), 5)


@given(seed=st.integers(0, 10**9), below=st.integers(1, 1 << 64))
def test_integers_are_below_their_bound(seed: int, below: int) -> None:
    assert 0 <= chance(seed, 0, 0, 0, "").integer(below) < below


def test_words_that_would_favour_small_integers_are_drawn_again() -> None:
    """2**64 is 1 modulo 3, so that the last word would make 0 more likely."""
    assert Scripted((1 << 64) - 1, 5).integer(3) == 2
    assert Scripted((1 << 64) - 2, 5).integer(3) == ((1 << 64) - 2) % 3


@pytest.mark.parametrize("below", [0, -1, (1 << 64) + 1])
def test_a_bound_that_cannot_be_kept_is_refused(below: int) -> None:
    with pytest.raises(ValueError, match="expected a bound"):
        chance(0, 0, 0, 0, "").integer(below)


def test_fractions_reach_from_0_up_to_but_not_1() -> None:
    assert Scripted(0).fraction() == 0.0
    assert Scripted((1 << 64) - 1).fraction() == 1 - 2**-53
    assert Scripted(1 << 11).fraction() == 2**-53


@pytest.mark.parametrize("options", ["abcde", (3, 1, 2), [None]])
def test_every_option_is_as_likely(options: Sequence[object]) -> None:
    stream = chance(0, 0, 0, 0, "choice")
    counts = Counter(stream.choice(options) for _ in range(1_000))
    assert set(counts) == set(options)
    assert min(counts.values()) > 800 / len(options)


def test_nothing_cannot_be_chosen_from() -> None:
    with pytest.raises(ValueError, match="got 0"):
        chance(0, 0, 0, 0, "").choice([])


def test_every_order_is_as_likely() -> None:
    stream = chance(0, 0, 0, 0, "order")
    counts = Counter("".join(stream.shuffled("abc")) for _ in range(1_200))
    assert len(counts) == 6
    assert 160 < min(counts.values()) <= max(counts.values()) < 240


@given(options=st.lists(st.integers()))
def test_shuffling_keeps_all_and_changes_no_argument(options: list[int]) -> None:
    before = list(options)
    shuffled = chance(0, 0, 0, 0, "").shuffled(options)
    assert sorted(shuffled) == sorted(before)
    assert options == before
