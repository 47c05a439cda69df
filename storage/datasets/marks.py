"""What the numbers that users gave mean: their scale, and the one that means nothing at all."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError

LOWEST, HIGHEST = 0.0, 5.0
"""What a rating can be: prompts, users who leave and advantages go by the scale of 1 to 5."""

_FIRST, _LAST = 1.0, 5.0


@dataclass(frozen=True)
class Marks:
    """The *scale* of a source, put linearly on 1 to 5, and the number that is no rating, *missing*.

    Without a scale ratings are taken as they are. Where *open*, more than the highest is the
    highest.
    """

    scale: tuple[float, float] | None = None
    missing: float | None = None
    open: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest number that is a rating."""
        return self.scale or (LOWEST, HIGHEST)

    def wrong(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell of each number whether it is off the scale."""
        low, high = self.ends
        off = numbers < low if self.open else (numbers < low) | (numbers > high)
        off[numbers == self.missing] = False
        return off

    def ratings(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return *numbers* on our scale, NaN where one means that nothing was rated."""
        ratings = numbers.copy()
        if self.scale is not None:
            low, high = self.scale
            ratings = np.minimum((numbers - low) / (high - low), 1.0)
            ratings = _FIRST + (_LAST - _FIRST) * ratings
        ratings[numbers == self.missing] = np.nan
        return ratings


AS_THEY_ARE = Marks()


def marks_of(scale: str, missing: str) -> Marks:
    """Return the marks that "0:10" and "0" say; an empty text says nothing of it."""
    low, _, high = scale.partition(":")
    ends = (_number("scale", low), _number("scale", high)) if scale else None
    if ends and ends[0] >= ends[1]:
        raise ConfigError(f"scale: expected LOWEST:HIGHEST, got {scale!r}", hint="as in 0:10")
    return Marks(ends, _number("missing", missing) if missing else None)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise ConfigError(f"{name}: expected a number, got {text!r}", hint="as in --scale 0:10")
    return number
