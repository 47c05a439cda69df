"""Named random streams: the same numbers for the same name, on every machine and version.

A stream is blake2b in counter mode, keyed by what it is for. Nobody shares a stream, so nobody can
shift the numbers of somebody else by drawing one more.
"""

from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import TypeVar

T = TypeVar("T")

_WORD = 8
_BLOCK = 64
_words_of = Struct(f"<{_BLOCK // _WORD}Q").unpack


class Stream:
    """An endless stream of random numbers that depends on its key alone."""

    __slots__ = ("_counter", "_key", "_words")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counter = 0
        self._words: list[int] = []

    def word(self) -> int:
        """Return the next 64 random bits."""
        if not self._words:
            counter = self._counter.to_bytes(_WORD, "little")
            block = blake2b(counter, key=self._key, digest_size=_BLOCK).digest()
            self._counter += 1
            # Last first, so that the next one is taken off the end.
            self._words = [*reversed(_words_of(block))]
        return self._words.pop()

    def integer(self, below: int) -> int:
        """Return an integer from 0 up to, not including, *below* (at most 2**64), without bias."""
        if not 1 <= below <= 1 << 64:
            raise ValueError(f"expected a bound from 1 to 2**64, got {below!r}")
        # Words above the last whole multiple are drawn again: they would favour low numbers.
        usable = (1 << 64) - (1 << 64) % below
        while (word := self.word()) >= usable:
            pass
        return word % below

    def fraction(self) -> float:
        """Return a number from 0 up to, not including, 1: a multiple of 2**-53."""
        return (self.word() >> 11) / (1 << 53)

    def choice(self, options: Sequence[T]) -> T:
        """Return one of *options*, each as likely as any other."""
        return options[self.integer(len(options))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """Return *options* in random order (Fisher–Yates)."""
        order = list(options)
        for last in range(len(order) - 1, 0, -1):
            other = self.integer(last + 1)
            order[last], order[other] = order[other], order[last]
        return order


def chance(seed: int, user: int, session: int, step: int, purpose: str) -> Stream:
    """Return the stream for *purpose* at a step of a user's session."""
    name = f"{seed}/{user}/{session}/{step}/{purpose}".encode()
    # A key has 64 bytes at most, a name any length.
    return Stream(blake2b(name, digest_size=32).digest())
