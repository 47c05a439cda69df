"""The runs below a folder, a card for each: what it was, where it stands, and what came of it.

Made to be cheap, so that hundreds of runs are told at once: of a run that came to its end its
summary is read; of the trace only the lines that say how episodes ended, and the head.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from math import fsum, sqrt
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from engine.errors import BillpError, RunDirectoryError
from engine.messages import RunStarted, number
from sim.analysis.ledger import Ledger, Row
from sim.analysis.visits import standing_of
from sim.runs.recorded import IMPORTED
from storage.runs import RunDirectory
from storage.traces import read_head, whole_size

DEEPEST = 4
"""Levels of folders in each other that may hold runs."""

MOST_BLOCKS = 24
"""Points that the course of a run's rewards has at most."""

Status: TypeAlias = Literal["finished", "live", "stopped", "unfinished", "imported", "damaged"]
"""Where a run stands; *unfinished* is one of which it cannot be told whether it is running."""

_STATUS: dict[str, Status] = {"running": "live"}
_SURE = 1.96  # standard errors on either side: 95 % of a normal distribution


class RunCard(msgspec.Struct, frozen=True, kw_only=True):
    """A run: its *name*, which is its place below the folder, and what is known of it.

    *episodes*, *steps*, *r_traj* (mean of the sum of rewards) between *low* and *high* (by 1.96
    standard errors; None of fewer than two episodes), *len* and *reasons* (why episodes ended, by
    count) are those of the last test, or of all where there was none; *failed* ones, which are
    counted nowhere else, *tokens* and *cost* of the whole run. Numbers that are not known are None:
    tokens and cost of a run that has not come to its end, all numbers of one that is *damaged*, for
    which *trouble* says why. *series* is the mean R_traj of equal blocks of the whole run's
    episodes, in their order. *when*, in UTC, is when it was last written to. *parent_digest* is
    that of the run that a fork was made from, *parent* the name of that run if it is among those
    listed.
    """

    name: str
    path: str
    status: Status
    when: str = ""
    agent: str = ""
    model: str = ""
    environment: str = ""
    seed: int | None = None
    digest: str = ""
    episodes: int | None = None
    failed: int | None = None
    r_traj: float | None = None
    low: float | None = None
    high: float | None = None
    len: float | None = None
    reasons: dict[str, int] = {}
    tokens: int | None = None
    cost: float | None = None
    series: tuple[float, ...] = ()
    parent_digest: str = ""
    parent: str = ""
    trouble: str = ""


def list_runs(folder: Path) -> list[RunCard]:
    """Return the cards of all runs below *folder*, by name; raises RunDirectoryError without one.

    A run that cannot be read has a card that says so.
    """
    if not folder.is_dir():
        hint = "name a folder that holds runs, such as traces/runs"
        raise RunDirectoryError(f"{folder}: there is no such folder", hint=hint)
    return with_parents([card_of(folder / name, name) for name in sorted(names_below(folder))])


def names_below(folder: Path) -> Iterator[str]:
    """Yield the names of the runs below *folder*: their paths from there, with slashes.

    Links are not followed; runs more than `DEEPEST` levels down are not found.
    """
    for where, directories, files in os.walk(folder):
        place = Path(where).relative_to(folder)
        if place.parts and ("run.toml" in files or "trace.jsonl" in files):
            yield place.as_posix()
            directories.clear()  # what is within a run is its own
        elif len(place.parts) >= DEEPEST:
            directories.clear()


def with_parents(cards: Sequence[RunCard]) -> list[RunCard]:
    """Return *cards* with the names of the parents that are among them."""
    names = {card.digest: card.name for card in reversed(cards) if card.digest}
    parents = {card.name: names.get(card.parent_digest, "") for card in cards}
    return [msgspec.structs.replace(card, parent=_checked(card.name, parents)) for card in cards]


def _checked(name: str, parents: Mapping[str, str]) -> str:
    """Return the parent of a run; none if it came of itself, which only altered files can say."""
    seen, ancestor = {name}, parents[name]
    while ancestor and ancestor not in seen:
        seen.add(ancestor)
        ancestor = parents[ancestor]
    return "" if ancestor else parents[name]


def in_families(cards: Sequence[RunCard]) -> list[tuple[int, RunCard]]:
    """Return *cards* with forks after their parents, each with how many of these it stands under.

    A fork whose parent is not among them stands by itself. Each stands there once, also those that
    claim to be each other's forks.
    """
    names = {card.name for card in cards}
    children: dict[str, list[RunCard]] = {}
    for card in cards:
        children.setdefault(card.parent if card.parent in names else "", []).append(card)
    found: dict[str, tuple[int, RunCard]] = {}
    # All of them at the bottom: what is in a circle is nobody's first child.
    waiting = [(0, card) for card in reversed([*children.get("", []), *cards])]
    while waiting:
        depth, card = waiting.pop()
        if card.name not in found:
            found[card.name] = depth, card
            waiting += [(depth + 1, child) for child in reversed(children.get(card.name, []))]
    return [*found.values()]


def card_of(path: Path, name: str) -> RunCard:
    """Return what is known of the run at *path*, called *name*; its parent's name is not."""
    directory = RunDirectory(path)
    when = _when(directory)
    try:
        facts = _facts(directory)
    except BillpError as error:
        facts = {"status": "damaged", "trouble": str(error)}
    except OSError as error:
        facts = {"status": "damaged", "trouble": f"{path}: cannot be read: {error.strerror}"}
    except OverflowError:
        facts = {"status": "damaged", "trouble": f"{path}: has rewards too large to be added"}
    return RunCard(name=name, path=str(path), when=when, **facts)


def _when(directory: RunDirectory) -> str:
    """Return when any of the files was last written that tell what came of it."""
    files = (directory.summary, directory.trace, directory.journal, directory.config)
    times = [os.stat(path).st_mtime for path in files if path.exists()]
    latest = datetime.fromtimestamp(max(times, default=0), UTC)
    return latest.strftime("%Y-%m-%dT%H:%M:%SZ") if times else ""


def _facts(directory: RunDirectory) -> dict[str, Any]:
    """Return what the files of a run tell; raises FileErrors for damage."""
    if directory.finished:
        summary = _read_summary(directory)
        return {**_of_trace(directory), **summary}
    planned = _planned(directory)
    standing = standing_of(directory)
    return {**planned, **_of_trace(directory), "status": _STATUS.get(standing, standing)}


def _planned(directory: RunDirectory) -> dict[str, Any]:
    """Return what run.toml says of a run, as far as it says it in the form of ours."""
    settings = directory.read_config()
    kinds = {"agent": str, "model": str, "environment": str, "seed": int}
    return {
        name: value for name, kind in kinds.items() if isinstance(value := settings.get(name), kind)
    }


# -- what came of a finished run


class _Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of summary.json, also of one that an older version wrote."""

    digest: str
    episodes: int
    failed: int
    r_traj: float
    len: float
    quits: dict[str, int] = {}
    ended: dict[str, int] = {}
    environment: str = ""
    failed_episodes: int = 0
    tokens: int | None = None
    cost: float | None = None


def _read_summary(directory: RunDirectory) -> dict[str, Any]:
    values = directory.read_summary()
    try:
        found = msgspec.convert(values, _Summary)
    except msgspec.ValidationError as error:
        raise RunDirectoryError(f"{directory.summary}: cannot be read: {error}") from error
    imported = "ended" in values  # `Imported` has it, and no agent, model or cost
    return {
        "status": "imported" if imported else "finished",
        "environment": IMPORTED if imported else found.environment,
        "digest": found.digest,
        "episodes": found.episodes,
        "failed": max(found.failed, found.failed_episodes),
        "r_traj": found.r_traj if found.episodes else None,
        "len": found.len if found.episodes else None,
        "reasons": found.ended if imported else found.quits,
        "tokens": found.tokens,
        "cost": found.cost,
    }


# -- what the trace tells


def _of_trace(directory: RunDirectory) -> dict[str, Any]:
    """Return what the trace tells, as far as it is written; raises TraceError for damage."""
    if not directory.finished and not whole_size(directory.trace):
        return _course(directory.trace)
    head = read_head(directory.trace)
    return {**_of_head(head), **_course(directory.trace)}


def _of_head(head: RunStarted) -> dict[str, Any]:
    parent = head.forks[-1].parent if head.forks else ""
    return {"agent": head.agent, "model": head.model, "seed": head.seed, "parent_digest": parent}


def _course(trace: Path) -> dict[str, Any]:
    """Return what a card tells of the episodes of a trace; raises TraceError for damage."""
    ledger = Ledger(trace)
    ledger.refresh()
    every = [row for row in ledger.rows() if row.end == "finished"]
    judged = _last_test(ledger) or every
    rewards = [row.reward for row in judged]
    low, high = _interval(rewards)
    return {
        "episodes": len(judged),
        "failed": sum(row.end == "failed" for row in ledger.rows()),
        "r_traj": _mean(rewards),
        "low": low,
        "high": high,
        "len": _mean([row.length for row in judged]),
        "reasons": dict(sorted(Counter(row.reason for row in judged).items())),
        "series": tuple(_blocks([row.reward for row in every])),
    }


def _last_test(ledger: Ledger) -> list[Row]:
    """Return the episodes of the last test that did not fail: between two tests is training."""
    tested: list[Row] = []
    for phase, rows in groupby(ledger.rows(), key=attrgetter("phase")):
        if phase == "test":
            tested = [row for row in rows if row.end == "finished"]
    return tested


def _mean(values: Sequence[float]) -> float | None:
    return number(fsum(values) / len(values)) if values else None


def _interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return where the mean of *values* may lie; None of fewer than two."""
    count = len(values)
    if count < 2:
        return None, None
    mean = fsum(values) / count
    spread = fsum((value - mean) ** 2 for value in values) / (count - 1)
    error = _SURE * sqrt(spread / count)
    return number(mean - error), number(mean + error)


def _blocks(values: Sequence[float]) -> Iterator[float]:
    """Yield the means of equal blocks of *values*, `MOST_BLOCKS` at most; the last may be short."""
    size = -(-len(values) // MOST_BLOCKS) or 1
    for start in range(0, len(values), size):
        block = values[start : start + size]
        yield number(fsum(block) / len(block))
