"""Memories as people read them: what was kept and recalled, and what came of following it."""

from collections.abc import Iterator, Sequence
from textwrap import shorten
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from agents.making import AgentMemory
from agents.models.providers import EMBEDDED
from engine.text import counted
from sim.analysis.memory.facts import CAUTION, Facts, Followed, Guided, Kept
from sim.analysis.memory.recorded import Asked, RecordedMemories
from sim.analysis.memory.saved import Entry, Found
from sim.views.memory_map import Panel

_LONGEST = 300

_UNKNOWN = "(its text is in the run's memory, which is not here)"


def facts_page(run: RecordedMemories, facts: Facts) -> Group:
    """Return what a run's trace tells of its memories."""
    failed = f", {facts.failed:,} failed and in none of this" if facts.failed else ""
    parts: list[RenderableType] = [
        f"The agent {run.head.agent}, {counted(facts.episodes, 'episode')}{failed}."
    ]
    if not run.finished:
        parts.append("The run is not finished: this is what its trace tells so far.")
    if not facts.episodes:  # of no episode there is nothing to tell, and nothing that it never did
        return Group(*parts)
    parts += _kept(facts.memories)
    parts += _followed(facts.followed)
    parts += _guided(facts.guided)
    if facts.followed or facts.guided:
        parts.append(CAUTION)
        if run.head.model == EMBEDDED:
            parts.append("The embedded model is a stand-in: it says nothing of language models.")
    return Group(*parts)


def _kept(memories: Sequence[Kept]) -> Iterator[RenderableType]:
    yield "\nWhat was kept and recalled"
    names = ("records", "writers", "asked", "answered", "recalls", "distinct", "readers")
    table = _table("memory", *names)
    for kept in memories:
        numbers = (kept.records, kept.writers, kept.asked, kept.answered)
        recalls = (kept.recalls, kept.recalled, kept.readers)
        table.add_row(kept.memory, *map("{:,}".format, (*numbers, *recalls)))
    yield table
    yield "Writers and readers are episodes; distinct are the different records given back."
    for kept in memories:
        if not kept.asked:
            yield f"Recalls of {kept.memory} leave no mark in a trace: the agent reads all of it."
    if any(kept.distances for kept in memories):
        yield "\nHow near (cosine distance, 0 to 2)"
        yield _distances(memories)


def _distances(memories: Sequence[Kept]) -> Table:
    table = _table("memory", "nearest", "25 %", "median", "75 %", "farthest")
    for kept in memories:
        if kept.distances:
            table.add_row(kept.memory, *(f"{distance:.3f}" for distance in kept.distances))
    return table


def _followed(rows: Sequence[Followed]) -> Iterator[RenderableType]:
    if not rows:
        return
    yield "Steps by what the actor had recalled of the very item that it recommended"
    table = _table("advice", "steps", "mean step", "reward", "user left", "reward to go")
    for row in rows:
        means = (_mean(row.step, ".1f"), _mean(row.reward, ".3f"), _mean(row.left, ".1%"))
        table.add_row(row.advice, f"{row.steps:,}", *means, _mean(row.to_go, ".2f"))
    yield table


def _guided(rows: Sequence[Guided]) -> Iterator[RenderableType]:
    if not rows:
        return
    yield "Episodes by whether the planner recalled reflections"
    table = _table("planner", "episodes", "Len", "R_traj")
    tested = any(row.phase == "test" for row in rows)
    for row in rows:
        what = "with reflections" if row.recalled else "without"
        name = f"{row.phase}, {what}" if tested else what
        table.add_row(name, f"{row.episodes:,}", _mean(row.len, ".2f"), _mean(row.r_traj, ".2f"))
    yield table


def entries_page(entries: Sequence[Entry], total: int, *, finished: bool = True) -> Group:
    """Return the first of *total* records of a memory, which grows until it is *finished*."""
    table = _records()
    for entry in entries:
        table.add_row(f"{entry.position:,}", f"{entry.episode:,}", _cut(entry.says))
    rest = total - len(entries)
    below = f"{counted(rest, 'record')} more: see --limit." if rest else "That is all."
    far = [] if finished else ["The run is not finished: this is what its trace tells so far."]
    return Group(*far, table, below)


def found_page(text: str, found: Sequence[Found], memories: Sequence[AgentMemory[Any]]) -> Group:
    """Return the records of *memories* whose keys are most like *text*."""
    table = _records("memory", "distance")
    for one in found:
        entry = one.entry
        place = (f"{entry.position:,}", f"{entry.episode:,}")
        table.add_row(entry.memory, f"{one.distance:.3f}", *place, _cut(entry.says))
    keyed: dict[str, list[str]] = {}
    for memory in memories:
        keyed.setdefault(memory.keyed_by, []).append(memory.name)
    keys = ", ".join(f"{what} ({', '.join(names)})" for what, names in keyed.items())
    about = f"Likeness is that of keys: {keys}."
    return Group(table, f"The {len(found):,} nearest to {_cut(text)!r}. {about}")


def asked_page(every: Sequence[Asked], agent: str) -> Group:
    """Return what was recalled at a step."""
    if not every:
        return Group(f"No memory was asked there: the agent {agent} reads all of its own.")
    table = _records("memory", "asked at", "distance")
    for one in every:
        about = f"{one.asked_in} {one.at}"
        if not one.found:
            table.add_row(one.memory, about, "", "", "", "nothing was near enough, or known yet")
        for record in one.found:
            place = (f"{record.position:,}", f"{record.episode:,}")
            text = _UNKNOWN if record.says is None else _cut(record.says)
            table.add_row(one.memory, about, f"{record.distance:.3f}", *place, text)
    return Group(table)


def map_page(path: str, panels: Sequence[Panel]) -> Group:
    """Return what was drawn."""
    return Group(*(_panel(panel) for panel in panels), path)


def _panel(panel: Panel) -> str:
    shares = " and ".join(f"{share:.1%}" for share in panel.variance)
    drawn = f", {panel.drawn:,} of them drawn" if panel.drawn < panel.records else ""
    return f"{counted(panel.records, panel.kind)}{drawn}; the axes show {shares} of the variance"


def _records(*first: str) -> Table:
    table = _table(*first, "position", "episode")
    table.add_column("says", overflow="fold")
    return table


def _table(*names: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    return table


def _mean(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _cut(text: str) -> str:
    return shorten(text, _LONGEST, placeholder=" …")
