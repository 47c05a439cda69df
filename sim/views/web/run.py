"""The page of a run: what it was, what came of it so far, and where to look further."""

from collections import Counter
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from math import fsum

from sim.analysis.ledger import Row
from sim.analysis.visits import Standing
from sim.runs.stopping import resuming
from sim.views.charts.course import course_specs
from sim.views.web.opened import Opened
from sim.views.web.page import Asked, Page

_EXTREMES = 5  # episodes that are shown of the best, and of the worst


@dataclass(frozen=True)
class RunFacts:
    """What a run was, how far it is, and its episodes in a few numbers.

    *total* is how many episodes there will be, None if that is not known. *why* says why there are
    no categories, if there are none.
    """

    run: str
    path: str
    standing: Standing
    imported: bool
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    metrics: tuple[tuple[str, str, str], ...]
    effort: tuple[tuple[str, str], ...]
    total: int | None
    written: int
    failed: int
    r_traj: float | None
    len: float | None
    reasons: tuple[tuple[str, int], ...]
    best: tuple[Row, ...]
    worst: tuple[Row, ...]
    resume: str
    memories: bool
    specs: dict[str, dict[str, object]]


def run_page(asked: Asked) -> Page:
    """Return the page of a run."""
    opened = Opened(asked.directory)
    ledger = asked.ledger
    rows = [row for row in ledger.rows() if row.end == "finished"]
    reasons = Counter(row.reason for row in rows)
    standing = opened.standing
    facts = RunFacts(
        run=asked.run,
        path=str(opened.directory.path),
        standing=standing,
        imported=opened.imported,
        facts=tuple(_facts(opened)),
        settings=tuple((name, str(value)) for name, value in opened.told),
        metrics=tuple(opened.summary.rows) if opened.summary else (),
        effort=tuple(_effort(opened)),
        total=total_of(opened),
        written=len(ledger),
        failed=sum(row.end == "failed" for row in ledger.rows()),
        r_traj=fsum(row.reward for row in rows) / len(rows) if rows else None,
        len=sum(row.length for row in rows) / len(rows) if rows else None,
        reasons=tuple(reasons.most_common()),
        best=tuple(nlargest(_EXTREMES, rows, key=lambda row: (row.reward, -row.episode))),
        worst=tuple(nsmallest(_EXTREMES, rows, key=lambda row: (row.reward, row.episode))),
        resume=resuming(opened.directory.path) if standing == "stopped" else "",
        memories=opened.directory.memory.exists(),
        specs=course_specs(),
    )
    return Page("run.html", facts)


def _facts(opened: Opened) -> list[tuple[str, str]]:
    head = opened.head
    if head is None:
        told = opened.settings
        known = [(name, str(told.get(name, ""))) for name in ("agent", "model", "environment")]
        return [pair for pair in known if pair[1]]
    world = str(opened.settings.get("environment", "")) or "–"
    facts = [
        ("agent", head.agent),
        ("model", head.model),
        ("environment", f"{world} ({head.environment[:12]})"),
        ("seed", str(head.seed)),
        *(
            ("fork of", f"{fork.parent[:12]} from {fork.episode}:{fork.step}")
            for fork in head.forks
        ),
    ]
    if opened.summary is not None:
        facts.append(("digest", opened.summary.digest))
    return facts


def _effort(opened: Opened) -> list[tuple[str, str]]:
    summary = opened.summary
    if summary is None:
        return []
    told = [
        ("model calls", f"{summary.calls:,}"),
        ("failed", f"{summary.failed_calls:,}"),
        ("tokens", f"{summary.tokens:,}"),
        ("of the prompts' known before", f"{summary.cached_tokens:,}"),
        ("cost", f"{summary.cost:.4g}" if summary.cost else "–"),
        ("seconds", f"{summary.seconds:,.1f}"),
    ]
    return [pair for pair in told if pair[1] != "0"]


def total_of(opened: Opened) -> int | None:
    """Return how many episodes a run will have; None if its settings alone do not tell."""
    told = opened.settings
    try:
        sessions, tests = int(told.get("sessions", 1)), int(told.get("test_episodes", 0))
        return None if tests else int(told["episodes"]) * sessions
    except (KeyError, TypeError, ValueError):
        return None
