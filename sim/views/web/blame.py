"""The page of what an episode owes its course to: what `billp blame` found, if it was asked."""

from dataclasses import dataclass
from shlex import quote

from engine.errors import ConfigError
from sim.experiments.blame.findings import Blame
from sim.experiments.blame.kept import kept
from sim.experiments.blame.ranking import Effect
from sim.views.blame import name_of, verdict
from sim.views.web.opened import Opened
from sim.views.web.page import Asked, Page

_SHOWN = 30


@dataclass(frozen=True)
class BlameRow:
    """A cause in the list; places are percent of the width of its picture."""

    effect: Effect
    name: str
    low: float | None
    middle: float | None
    high: float | None
    fork: str


@dataclass(frozen=True)
class BlameFacts:
    """What was found of an episode, None if nobody asked; *zero* is where no effect stands."""

    run: str
    episode: int
    command: str
    found: Blame | None
    verdict: tuple[str, ...]
    rows: tuple[BlameRow, ...]
    zero: float


def blame_page(asked: Asked) -> Page:
    """Return the page of what an episode owes its course to; raises ConfigError without one."""
    opened = Opened(asked.directory)
    episode = asked.number("k")
    row = asked.ledger[episode]
    if opened.summary is None:
        raise ConfigError(
            "only of a run that came to its end can it be told what is to blame",
            hint="an imported run cannot be played again",
        )
    found = kept(opened.summary.digest, episode)
    low, high = _span(found)
    facts = BlameFacts(
        run=asked.run,
        episode=row.episode,
        command=f"billp blame {quote(str(opened.directory.path))} --episode {episode}",
        found=found,
        verdict=() if found is None else _sentences(found),
        rows=() if found is None else tuple(_rows(found, low, high)),
        zero=_place(0.0, low, high),
    )
    return Page("blame.html", facts)


def _sentences(found: Blame) -> tuple[str, ...]:
    """Return what is to blame in words, without commands: links and forks are on the page."""
    return tuple(line for line in verdict(found) if ": billp " not in line)


def _rows(found: Blame, low: float, high: float) -> list[BlameRow]:
    return [
        BlameRow(
            effect=one,
            name=name_of(one.cause),
            low=None if one.low is None else _place(one.low, low, high),
            middle=None if one.effect is None else _place(one.effect, low, high),
            high=None if one.high is None else _place(one.high, low, high),
            fork=_fork(found, one),
        )
        for one in found.causes[:_SHOWN]
    ]


def _fork(found: Blame, one: Effect) -> str:
    if not one.cause.role:
        return ""
    return (
        f"billp fork {quote(found.run)} --at {found.episode}:{one.cause.step} "
        f"--say {one.cause.role}=TEXT"
    )


def _span(found: Blame | None) -> tuple[float, float]:
    """Return the least and the greatest number that is drawn, 0 among them."""
    causes = [] if found is None else found.causes[:_SHOWN]
    # Intervals of few draws may be as wide as they like: they are cut off where the picture ends.
    leading = [n for one in causes if one.leading for n in (one.low, one.high) if n is not None]
    numbers = [0.0, *leading, *(one.effect for one in causes if one.effect is not None)]
    return min(numbers), max(numbers)


def _place(value: float, low: float, high: float) -> float:
    share = (value - low) / max(high - low, 1e-9)
    return round(2 + 96 * min(1.0, max(0.0, share)), 2)
