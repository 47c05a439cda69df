"""The list of a run's episodes, in pages of rows: sorted and filtered where the ledger is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, get_args

from engine.errors import ConfigError
from sim.analysis.choosing import Choice, Order
from sim.analysis.ledger import End, Row
from sim.analysis.visits import Standing, standing_of
from sim.views.web.page import Asked, Page

T = TypeVar("T", bound=str)

_COUNT = 100  # rows of a page, unless so many are asked for
_MOST = 500


@dataclass(frozen=True)
class EpisodesFacts:
    """*rows* of those episodes that are chosen (*matching* of *total*), from place *first* on.

    *highest* is the highest reward of all, *sessions* how many of them users come for at most, and
    *tested* says whether any is a test. *standing* is where the run stands.
    """

    run: str
    total: int
    matching: int
    first: int
    count: int
    rows: tuple[Row, ...]
    choice: Choice
    reasons: tuple[str, ...]
    highest: float
    sessions: int
    tested: bool
    standing: Standing


def episodes_page(asked: Asked) -> Page:
    """Return a page of the episodes of a run."""
    ledger, choice = asked.ledger, choice_of(asked)
    total = len(ledger)
    key = (ledger.path, total, ledger.size, choice)
    order: Sequence[int] = asked.kept.orders.get(key, lambda: choice.of(ledger))
    first = min(asked.number("from", 0), len(order))
    count = min(max(asked.number("count", _COUNT), 1), _MOST)
    facts = EpisodesFacts(
        run=asked.run,
        total=total,
        matching=len(order),
        first=first,
        count=count,
        rows=tuple(ledger[episode] for episode in order[first : first + count]),
        choice=choice,
        reasons=tuple(ledger.reasons),
        highest=ledger.highest,
        sessions=ledger.sessions,
        tested=ledger.tested,
        standing=standing_of(asked.directory),
    )
    return Page("episodes.html", facts)


def choice_of(asked: Asked) -> Choice:
    """Return which episodes the address asks for; raises ConfigError for what is no choice."""
    return Choice(
        order=_one(asked, "sort", ("episode", *get_args(Order))),
        falling=bool(asked.text("down")),
        user=asked.number("user") if asked.text("user") else None,
        reason=asked.text("reason"),
        phase=_one(asked, "phase", ("", "train", "test")),
        end=_one(asked, "end", ("", *get_args(End))),
    )


def _one(asked: Asked, name: str, known: tuple[T, ...]) -> T:
    """Return which of those *known* the address says, the first if none."""
    said = asked.text(name) or known[0]
    found = next((one for one in known if one == said), None)
    if found is None:
        hint = f"{name} may be {', '.join(filter(None, known))}"
        raise ConfigError(f"{name} is {said[:40]!r}", hint=hint)
    return found
