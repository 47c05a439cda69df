"""Settings with which a world is as long, or as hard, as is wanted.

Two things decide how long visits last: β, below which items are too much alike, and the threshold
of rewards below which users leave, which is a setting of a run. Visits get shorter with either, so
each figure that is wanted is found by bisection over one of the two: the bound's length over β, as
it hardly minds the threshold; what chance gets over the threshold, or over β where nothing is said
of the bound.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.messages import number
from sim.config.run import RunConfig, Settings
from sim.experiments.span import Both, Span, Trial, random_share
from sim.world.quitting.quantile import QuantileSettings
from storage.datasets.geometry import distances_squared
from storage.environments import Environment, with_near

STEPS = 10_000
"""Into how many parts the range of what is searched is divided."""

CLOSE = 0.02
"""How far off a figure may be, as a share of what is wanted: users differ by more."""

_ROUNDS = 4
_LEAST_MOVE = 100

Figure: TypeAlias = Literal["random_len", "random_share", "bound_len"]
Knob: TypeAlias = Literal["beta", "threshold"]

FIGURES: Mapping[Figure, tuple[str, Callable[[Both], float]]] = {
    "random_len": ("random's Len", lambda both: both.random.len),
    "random_share": ("random's share of the bound's R_traj", random_share),
    "bound_len": ("the bound's Len", lambda both: both.bound.len),
}
"""What can be wanted: in words, and as what it is measured."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted: mean lengths of visits, or what chance gets of the bound's R_traj."""

    random_len: float | None = None
    random_share: float | None = None
    bound_len: float | None = None

    def figures(self) -> dict[Figure, float]:
        """Return what is wanted by name; raises ConfigError for nothing, or too much."""
        every: dict[Figure, float | None] = {
            "random_len": self.random_len,
            "random_share": self.random_share,
            "bound_len": self.bound_len,
        }
        found = {name: value for name, value in every.items() if value is not None}
        if not found:
            raise ConfigError("nothing is wanted", hint="--random-len 5, say, or --bound-len 40")
        if {"random_len", "random_share"} <= found.keys():
            what = "what random gets can be wanted as a length or as a share, not both"
            raise ConfigError(what, hint="leave out --random-share")
        return found


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: the quantile that β is, and *settings* of runs where the threshold moved.

    *before* is what chance and the bound got, *reached* what they get now.
    """

    wanted: dict[Figure, float]
    beta_quantile: float
    settings: Settings
    before: Span
    reached: Span


@dataclass(frozen=True)
class Place:
    """Where both are, in parts of their ranges."""

    beta: int
    threshold: int


@dataclass(eq=False)
class Tuning:
    """An *environment* under the rules of *config*, whose β and threshold can be moved.

    Raises ConfigError for rules that cannot be judged. *tell* hears of each trial.
    """

    environment: Environment
    config: RunConfig
    tell: Callable[[str], None] = lambda _: None
    _trials: dict[Place, Trial] = field(default_factory=dict)

    def calibrated(self, wanted: Wanted) -> tuple[Environment, Calibration]:
        """Return the environment in which all that is *wanted* is so; ConfigError if none is."""
        figures = wanted.figures()
        before = Trial(self.environment, self.config).span()
        place = self._sought(figures)
        self._check(figures, place)
        quantile = place.beta / STEPS
        moved = place.threshold != self._start.threshold
        found = Calibration(
            wanted=figures,
            beta_quantile=quantile,
            settings={"quit": self._threshold(place.threshold)} if moved else {},
            before=before,
            reached=self.at(place).span(),
        )
        return with_near(self.environment, quantile, self._beta_squared(place.beta)), found

    def at(self, place: Place) -> Trial:
        """Return the trial with β and the threshold at *place*."""
        if place not in self._trials:
            factors = dataclasses.replace(
                self.environment.factors, beta_squared=self._beta_squared(place.beta)
            )
            world = dataclasses.replace(self.environment, factors=factors)
            rule = msgspec.structs.replace(self.config.quit, **self._threshold(place.threshold))
            self._trials[place] = Trial(world, msgspec.structs.replace(self.config, quit=rule))
        return self._trials[place]

    def _sought(self, figures: Mapping[Figure, float]) -> Place:
        place = self._start
        knobs = _knobs(figures)
        for _ in range(_ROUNDS):
            for figure, knob in knobs.items():
                place = self._moved(place, knob, figure, figures[figure])
            if all(close(self._figure(figure, place), figures[figure]) for figure in knobs):
                break
        return place

    def _moved(self, start: Place, knob: Knob, figure: Figure, wanted: float) -> Place:
        def at(part: int) -> float:
            return self._figure(figure, dataclasses.replace(start, **{knob: part}))

        part = seek(at, start.beta if knob == "beta" else start.threshold, wanted)
        return dataclasses.replace(start, **{knob: part})

    def _figure(self, figure: Figure, place: Place) -> float:
        name, get = FIGURES[figure]
        found = get(self.at(place))
        own = self._threshold(place.threshold)[self._name]
        where = f"β at {place.beta / STEPS:.2%} of pairs, {self._name} {own:g}"
        self.tell(f"{where}: {name} is {found:.3g}")
        return found

    def _check(self, figures: Mapping[Figure, float], place: Place) -> None:
        for figure, wanted in figures.items():
            found = self._figure(figure, place)
            if not close(found, wanted):
                raise ConfigError(
                    f"{FIGURES[figure][0]} cannot be {wanted:g} in this world under these rules:"
                    f" the nearest is {found:.3g}, with β at {place.beta / STEPS:.2%} of pairs",
                    hint=f"ask for that, or move the users' threshold: --set quit.{self._name}=…",
                )

    @cached_property
    def _start(self) -> Place:
        low, width = self._range
        own = float(getattr(self.config.quit, self._name))
        part = round((own - low) / width * STEPS)
        return Place(round(self.environment.head.beta_quantile * STEPS), min(max(part, 0), STEPS))

    @cached_property
    def _name(self) -> str:
        """The name of the setting that is the threshold."""
        return "quantile" if isinstance(self.config.quit, QuantileSettings) else "lowest"

    @cached_property
    def _range(self) -> tuple[float, float]:
        """The lowest threshold, and how far the highest is from it."""
        head = self.environment.head
        if self._name == "quantile":
            return 0.0, 1.0
        return head.rating_low, (head.rating_high - head.rating_low) or 1.0

    def _threshold(self, part: int) -> dict[str, float]:
        if part == self._start.threshold:  # as it is: it may stand between two parts
            return {self._name: getattr(self.config.quit, self._name)}
        low, width = self._range
        return {self._name: number(low + width * part / STEPS)}

    def _beta_squared(self, part: int) -> int:
        rank = min(part * len(self._distances) // STEPS, len(self._distances) - 1)
        return max(int(self._distances[rank]), 1)

    @cached_property
    def _distances(self) -> NDArray[np.int64]:
        environment = self.environment
        found = np.sort(distances_squared(environment.factors.places, environment.head.seed))
        return found if len(found) else np.ones(1, np.int64)


def _knobs(figures: Mapping[Figure, float]) -> dict[Figure, Knob]:
    """Return what is moved for each of *figures*, in this order."""
    if "bound_len" not in figures:
        return dict.fromkeys(figures, "beta")
    rest: dict[Figure, Knob] = {name: "threshold" for name in figures if name != "bound_len"}
    return {"bound_len": "beta", **rest}


def close(found: float, wanted: float) -> bool:
    """Tell whether what was *found* is what was *wanted*, as near as matters."""
    return abs(found - wanted) <= CLOSE * abs(wanted)


def seek(figure: Callable[[int], float], start: int, wanted: float) -> int:
    """Return the part, of `STEPS`, whose *figure* is *wanted*, or the nearest to it that was met.

    The figure must not rise from one part to a later one. From *start* it goes the way that it has
    to in doubling steps until the figure is passed, and then halves what is between.
    """
    known: dict[int, float] = {}

    def at(part: int) -> float:
        if part not in known:
            known[part] = figure(part)
        return known[part]

    low = high = start
    while at(high) > wanted and not close(at(high), wanted) and high < STEPS:
        low, high = high, min(max(2 * high, high + _LEAST_MOVE), STEPS)
    while at(low) < wanted and not close(at(low), wanted) and low > 0:
        low, high = low // 2, low
    while high - low > 1 and not any(close(one, wanted) for one in known.values()):
        middle = (low + high) // 2
        low, high = (middle, high) if at(middle) > wanted else (low, middle)
    return min(known, key=lambda part: (abs(known[part] - wanted), abs(part - start)))
