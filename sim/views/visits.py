"""The visits of a run as people read them: a line for each."""

from collections.abc import Iterator, Sequence

from engine.text import counted
from sim.analysis.listing import RunCard
from sim.analysis.visits import Standing, Visited, Visits
from sim.views.columns import Column, table
from sim.views.console import folded

_STANDS: dict[Standing, str] = {
    "finished": "is finished",
    "running": "is under way: a process writes to it",
    "stopped": "was stopped before its end, and no process of this machine writes to it",
    "unfinished": "is not finished; whether a process writes to it cannot be told here",
}

_EXTREMES = 3  # best and worst visits that are named above a list
_OPEN_STATES = frozenset({"running", "stopped"})
_OPEN = (
    "Steps of open visits are those that have begun, by the run's journal; what their users "
    "answered is not written yet."
)


def stands(run: str, standing: Standing) -> str:
    """Return in a sentence where a run stands."""
    return f"{run} {_STANDS[standing]}."


def visits_page(
    card: RunCard, visits: Visits, shown: Sequence[Visited], width: int
) -> Iterator[str]:
    """Yield the lines of the visits that are *shown*, in a *width*, below what the run is."""
    yield from folded(stands(card.path, visits.standing), width)
    for line in _overview(card, visits):
        yield from folded(line, width)
    yield from folded(_counts(visits), width)
    for line in _extremes(visits) if len(shown) > 2 * _EXTREMES else ():
        yield from folded(line, width)
    if visits.unknown and any(one.episode is None for one in shown):
        yield from folded(f"Numbers of open visits are not known: {visits.unknown}.", width)
    yield ""
    yield from table(_columns(shown), width) if shown else ("No visit to show.",)
    if any(one.state in _OPEN_STATES for one in shown):
        yield from ("", *folded(_OPEN, width))


def _overview(card: RunCard, visits: Visits) -> Iterator[str]:
    """Yield what a run was, and what came of it so far."""
    if card.agent:
        parent = f", forked from a run with digest {card.parent_digest[:12]}"
        forked = parent if card.parent_digest else ""
        where = f" in {card.environment}" if card.environment else ""
        yield f"Agent {card.agent}, model {card.model}{where}, seed {card.seed}{forked}."
    if card.r_traj is None or card.len is None or card.episodes is None:
        return
    sure = "" if card.high is None else f" ± {card.high - card.r_traj:.2f}"
    over = counted(card.episodes, "episode")
    tested = card.episodes != visits.counts()["finished"]
    judged = ", those of the last test" if tested else ""
    yield f"R_traj {card.r_traj:.2f}{sure}, Len {card.len:.2f} over {over}{judged}."
    reasons = sorted(card.reasons.items(), key=lambda one: (-one[1], one[0]))
    told = ", ".join(f"{reason} {count:,}" for reason, count in reasons)
    yield f"Why they ended: {told}."


def _extremes(visits: Visits) -> Iterator[str]:
    """Yield which visits came to most, and to least."""
    whole = [one for one in visits.ended if one.state == "finished" and one.reward is not None]
    ranked = sorted(whole, key=lambda one: (one.reward or 0.0, one.episode or 0))
    for name, some in (("Best", ranked[: -_EXTREMES - 1 : -1]), ("Worst", ranked[:_EXTREMES])):
        told = ", ".join(f"{one.episode} ({one.reward:.2f})" for one in some)
        if told:
            yield f"{name} episodes: {told}."


def _counts(visits: Visits) -> str:
    counts = visits.counts()
    told = (f"{count:,} {state}" for state, count in counts.items())
    return "Visits: " + (", ".join(told) or "none yet") + "."


def _columns(shown: Sequence[Visited]) -> list[Column]:
    episode, user, session, state, steps, reward, why = zip(*map(_row, shown), strict=True)
    return [
        Column("episode", episode),
        Column("user", user),
        Column("session", session, told_once=True),
        Column("state", state, words=True, told_once=True),
        Column("steps", steps),
        Column("reward", reward),
        Column("why", why, words=True, folds=True),
    ]


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
