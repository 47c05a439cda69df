"""The visits of a run as people read them: a line for each."""

from collections.abc import Iterator, Sequence

from sim.analysis.visits import Standing, Visited, Visits
from sim.views.console import folded

_STANDS: dict[Standing, str] = {
    "finished": "is finished",
    "running": "is under way: a process writes to it",
    "stopped": "was stopped before its end, and no process of this machine writes to it",
    "unfinished": "is not finished; whether a process writes to it cannot be told here",
}

_HEAD = ("episode", "user", "session", "state", "steps", "reward", "why")
_STATE = _HEAD.index("state")
_GAP = "  "
_OPEN_STATES = frozenset({"running", "stopped"})
_OPEN = (
    "Steps of open visits are those that have begun, by the run's journal; what their users "
    "answered is not written yet."
)


def stands(run: str, standing: Standing) -> str:
    """Return in a sentence where a run stands."""
    return f"{run} {_STANDS[standing]}."


def visits_page(run: str, visits: Visits, shown: Sequence[Visited], width: int) -> Iterator[str]:
    """Yield the lines of the visits that are *shown*, in a *width*, below a count of all."""
    yield from folded(stands(run, visits.standing), width)
    yield from folded(_counts(visits), width)
    if visits.unknown and any(one.episode is None for one in shown):
        yield from folded(f"Numbers of open visits are not known: {visits.unknown}.", width)
    yield ""
    # By hand: of ten thousand rows, what rich draws takes longer than all that is read.
    yield from _table(shown, width) if shown else ("No visit to show.",)
    if any(one.state in _OPEN_STATES for one in shown):
        yield from ("", *folded(_OPEN, width))


def _counts(visits: Visits) -> str:
    counts = visits.counts()
    told = (f"{count:,} {state}" for state, count in counts.items())
    return "Visits: " + (", ".join(told) or "none yet") + "."


def _table(shown: Sequence[Visited], width: int) -> Iterator[str]:
    rows = [_HEAD, *map(_row, shown)]
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    above = sum(widths) + len(_GAP) * len(widths)
    for row in rows:
        cells = [cell.rjust(size) for cell, size in zip(row[:-1], widths, strict=True)]
        cells[_STATE] = row[_STATE].ljust(widths[_STATE])
        # No narrower than a long word: a terminal breaks lines where nothing else does.
        first, *rest = folded(row[-1], max(width - above, 24))
        yield _GAP.join((*cells, first)).rstrip()
        yield from (" " * above + line for line in rest)


def _row(one: Visited) -> tuple[str, ...]:
    return (
        "?" if one.episode is None else str(one.episode),
        str(one.user),
        str(one.session),
        one.state,
        "" if one.state == "waiting" else str(one.length),
        "" if one.reward is None else f"{one.reward:.2f}",
        "; ".join(filter(None, (one.reason, one.failure))),
    )
