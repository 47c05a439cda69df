"""An episode as a strip: a column a step, with reward, value of its state, and advantage."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sim.analysis.steps import StepTold

HUES = (0, 1, 2, 3, 4, 6, 7)
"""Colours of categories, the most frequent first; what is left has the grey one."""
OTHER = 5

_LEFT, _RIGHT, _TOP, _GAP = 70, 110, 6, 14
_REWARD, _REST = 64, 40  # heights of the bands
_WIDE, _NARROW = 19, 10  # of a column, and where there are many
_MANY = 60


@dataclass(frozen=True)
class Column:
    """A step in the strip: where it stands, its bar, and the dot of its advantage."""

    step: int
    x: float
    hue: int
    bar: tuple[float, float] | None
    dot: float | None
    gained: bool
    says: str


@dataclass(frozen=True)
class Band:
    """A part of the strip: its name, where it begins and ends, where 0 is, and its two ends."""

    name: str
    top: float
    bottom: float
    zero: float
    low: str
    high: str


@dataclass(frozen=True)
class Strip:
    """The strip in pixels; *line* are the points of the values, *ends* where the visit ended."""

    width: float
    height: float
    step: float
    bands: tuple[Band, ...]
    columns: tuple[Column, ...]
    lines: tuple[str, ...]
    ends: float


def hues_of(steps: Sequence[StepTold]) -> dict[str, int]:
    """Return the colour of each first category: the most frequent have one of their own."""
    met = Counter(step.categories[0] for step in steps if step.categories)
    return {name: hue for (name, _), hue in zip(met.most_common(), HUES, strict=False)}


def strip_of(steps: Sequence[StepTold], hues: Mapping[str, int]) -> Strip:
    """Return the strip of *steps*; bands of which nobody tells are left out."""
    wide = _WIDE if len(steps) <= _MANY else _NARROW
    bands = {band.name: band for band in _bands(steps)}
    reward, value, gain = (bands.get(name) for name in ("reward", "value", "advantage"))
    places = [_LEFT + wide * (index + 0.5) for index in range(len(steps))]
    return Strip(
        width=_LEFT + wide * len(steps) + _RIGHT,
        height=max((band.bottom for band in bands.values()), default=0.0) + 20,
        step=wide,
        bands=tuple(bands.values()),
        columns=tuple(
            _column(step, x, hues, reward, gain, steps)
            for step, x in zip(steps, places, strict=True)
        ),
        lines=tuple(_lines(steps, places, _scale(steps, "value", value))) if value else (),
        ends=_LEFT + wide * len(steps),
    )


def _known(steps: Sequence[StepTold], name: str) -> list[float]:
    values = (getattr(step, name) for step in steps)
    return [value for value in values if value is not None]


def _span(steps: Sequence[StepTold], name: str) -> tuple[float, float]:
    known = _known(steps, name)
    low, high = min(0.0, *known), max(0.0, *known)
    if name == "advantage":  # gains and losses on one scale
        high = max(high, -low)
        low = -high
    return low, high if high > low else low + 1


def _bands(steps: Sequence[StepTold]) -> Iterator[Band]:
    top = float(_TOP)
    for name, height in (("reward", _REWARD), ("value", _REST), ("advantage", _REST)):
        if not _known(steps, name):
            continue
        low, high = _span(steps, name)
        zero = top + height * high / (high - low)
        yield Band(name, top, top + height, zero, f"{low:.3g}".replace("-", "−"), f"{high:.3g}")
        top += height + _GAP


def _scale(steps: Sequence[StepTold], name: str, band: Band) -> Callable[[float], float]:
    low, high = _span(steps, name)
    height = band.bottom - band.top
    return lambda value: band.top + height * (high - value) / (high - low)


def _column(
    step: StepTold,
    x: float,
    hues: Mapping[str, int],
    reward: Band | None,
    gain: Band | None,
    steps: Sequence[StepTold],
) -> Column:
    bar, dot = None, None
    if reward and step.reward is not None:
        y = _scale(steps, "reward", reward)(step.reward)
        bar = (min(y, reward.zero), abs(reward.zero - y))
    if gain and step.advantage is not None:
        dot = _scale(steps, "advantage", gain)(step.advantage)
    category = step.categories[0] if step.categories else ""
    gained = (step.advantage or 0.0) >= 0
    return Column(step.step, x, hues.get(category, OTHER), bar, dot, gained, _says(step))


def _says(step: StepTold) -> str:
    told = [f"step {step.step}: {step.title or 'nothing recommended'}"]
    told += [f"{', '.join(step.categories)}"] if step.categories else []
    told += [f"reward {step.reward:.2f}"] if step.reward is not None else []
    told += [f"value {step.value:.3g}"] if step.value is not None else []
    told += [f"advantage {step.advantage:+.2f}"] if step.advantage is not None else []
    told += [f"left: {step.reason}"] if step.left else []
    return "\n".join(told)


def _lines(
    steps: Sequence[StepTold], places: Sequence[float], scale: Callable[[float], float]
) -> Iterator[str]:
    """Yield the line of values; it is broken where there is none."""
    points: list[str] = []
    for step, x in zip(steps, places, strict=True):
        if step.value is not None:
            points.append(f"{x:.1f},{scale(step.value):.1f}")
        elif points:
            yield " ".join(points)
            points = []
    if points:
        yield " ".join(points)
