"""The runs of a folder as people read them: a line for each, forks under their parents."""

from collections import Counter
from collections.abc import Iterator, Sequence

from sim.analysis.listing import RunCard, in_families
from sim.views.columns import Column, table
from sim.views.console import folded

_UNDER = "└ "
_MEANS = (
    "R_traj: mean sum of rewards an episode, ± 1.96 standard errors; with tests, of the last one."
)


def runs_page(folder: str, cards: Sequence[RunCard], width: int) -> Iterator[str]:
    """Yield the lines of a table of runs in a *width*, below a count of them."""
    yield from folded(_counts(folder, cards), width)
    if not cards:
        return
    yield ""
    yield from table([*_columns(in_families(cards))], width)
    yield ""
    for card in cards:
        if card.trouble:
            yield from folded(f"{card.name} is damaged: {card.trouble}", width)
    yield from folded(_MEANS, width)


def _counts(folder: str, cards: Sequence[RunCard]) -> str:
    counts = Counter(card.status for card in cards)
    told = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items()))
    return f"Runs in {folder}: {told or 'none'}."


def _columns(rows: Sequence[tuple[int, RunCard]]) -> Iterator[Column]:
    cards = [card for _, card in rows]
    yield Column("name", [_named(depth, card) for depth, card in rows], words=True)
    yield Column("status", [card.status for card in cards], words=True, worth=6, told_once=True)
    yield Column("agent", [card.agent for card in cards], words=True, worth=7, told_once=True)
    yield Column("model", [card.model for card in cards], words=True, worth=4, told_once=True)
    worlds = [card.environment for card in cards]
    yield Column("environment", worlds, words=True, worth=2, told_once=True)
    yield Column("seed", [_count(card.seed) for card in cards], worth=5)
    yield Column("episodes", [_count(card.episodes) for card in cards], worth=3)
    yield Column("failed", [_count(card.failed or None) for card in cards], worth=8)
    yield Column("R_traj", [_reward(card) for card in cards])
    yield Column("Len", [_decimal(card.len) for card in cards], worth=9)
    yield Column("when (UTC)", [_moment(card.when) for card in cards], worth=1)


def _named(depth: int, card: RunCard) -> str:
    return f"{'  ' * (depth - 1)}{_UNDER}{card.name}" if depth else card.name


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _decimal(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"


def _reward(card: RunCard) -> str:
    if card.r_traj is None or card.high is None:
        return _decimal(card.r_traj)
    return f"{card.r_traj:.2f} ±{card.high - card.r_traj:5.2f}"


def _moment(when: str) -> str:
    """Return a moment to the minute."""
    return when[:16].replace("T", " ")
