"""The page of two episodes side by side: a user's visit in one run and in another."""

from dataclasses import dataclass

from engine.errors import ConfigError
from sim.analysis.ledger import Ledger, Row
from sim.analysis.pairing import paired
from sim.analysis.sides import AFTER, BEFORE, Sides, sides
from sim.views.web.page import Asked, Page


@dataclass(frozen=True)
class DiffFacts:
    """A visit in *one* run and in the *other*, and both aligned by step."""

    one: str
    other: str
    row: Row
    beside: Row
    found: Sides
    before: int = BEFORE
    after: int = AFTER


def diff_page(asked: Asked) -> Page:
    """Return the page of episode `k` of the first run beside the same visit of the second.

    Or beside episode `with`, if the address names one.
    """
    runs = asked.every("run")
    if len(runs) != 2:
        raise ConfigError(f"two runs can be set side by side, got {len(runs)}")
    one, other = (asked.kept.ledger(asked.folder.run(name)) for name in runs)
    row = one[asked.number("k")]
    beside = other[asked.number("with")] if asked.text("with") else _beside(row, one, other)
    found = sides(one.read(row.episode), other.read(beside.episode))
    return Page("diff.html", DiffFacts(runs[0], runs[1], row, beside, found))


def _beside(row: Row, one: Ledger, other: Ledger) -> Row:
    """Return the same visit in the *other* run; raises ConfigError if it is not there."""
    for visit in paired(one, other):
        if visit.one == row and visit.other is not None:
            return visit.other
    raise ConfigError(
        f"the other run has no finished visit of user {row.user}, session {row.session}",
        hint="name an episode of it: &with=…",
    )
