"""The page of a comparison: differences, means, curves, profiles, and each user in two runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from engine.errors import ConfigError
from sim.analysis.compare import compared
from sim.analysis.comparison import Comparison, below
from sim.analysis.curves import curves
from sim.analysis.outcomes import MEASURES, RunOutcomes
from sim.analysis.pairing import Measure, PairedVisit, paired, value_of
from sim.analysis.sheets import Sheet
from sim.views.charts.comparison import against, forest, learning, profiles
from sim.views.charts.look import Row, Spec
from sim.views.comparison import as_latex, as_markdown
from sim.views.web.page import Asked, Page

_MOST = 64  # runs: an experiment of some agents and seeds
_SHOWN = 30  # visits in a page
_DRAWN = 2_000  # visits in a picture; more are a blot


@dataclass(frozen=True)
class ChoiceFacts:
    """The runs that may be compared, and the folders that hold several."""

    runs: list[str]
    folders: list[str]


@dataclass(frozen=True)
class UsersFacts:
    """Visits in two runs: those on this *page* of *pages*, and how many there are in *total*.

    *spec* is drawn of visits in both, *drawn* of them at most.
    """

    one: str
    other: str
    total: int
    both: int
    drawn: int
    page: int
    pages: int
    visits: tuple[PairedVisit, ...]
    spec: Spec


@dataclass(frozen=True)
class CompareFacts:
    """What came of comparing *runs* by a *measure*: tables, charts, what is to be said of them.

    Charts are None where there is nothing to draw; runs are *left_out* that have not come to their
    end.
    """

    runs: list[str]
    folder: str
    measure: str
    measures: dict[str, str]
    reference: str
    labels: list[str]
    environment: str
    sheets: list[Sheet]
    notes: list[str]
    forest: Spec | None
    learning: Spec | None
    profiles: Spec | None
    latex: str
    markdown: str
    users: UsersFacts | None
    left_out: list[str] = field(default_factory=list)

    @property
    def queried(self) -> list[tuple[str, str]]:
        """What an address says to come to this page again."""
        told = [("measure", self.measure), ("reference", self.reference)]
        if self.users is not None:
            told += [("one", self.users.one), ("other", self.users.other)]
        return [*(("run", name) for name in self.runs), *(pair for pair in told if pair[1])]


def compare_page(asked: Asked) -> Page:
    """Return the page that compares runs, or lets them be chosen if none is named."""
    runs, left_out = _runs(asked)
    if not runs:
        return Page("choose.html", _choice(asked.folder.names()))
    measure = _measure(asked)
    read = [asked.kept.outcomes(asked.folder.run(name)) for name in runs]
    reference = asked.text("reference") or None
    found = compared(read, measure=measure, reference=reference)
    facts = _facts(asked, runs, read, found)
    return Page("compare.html", replace(facts, left_out=left_out))


def _runs(asked: Asked) -> tuple[list[str], list[str]]:
    """Return the runs that are named and those of the folder that is, and which are left out.

    Of a folder those are taken that came to their end.
    """
    folder = asked.run or asked.text("folder")
    inside = [name for name in asked.folder.names() if folder and name.startswith(f"{folder}/")]
    ended = [name for name in inside if asked.folder.run(name).finished]
    runs = [*dict.fromkeys([*asked.every("run"), *ended])]
    if folder and not ended:
        raise ConfigError(f"no run below {folder!r} here has come to its end")
    if len(runs) > _MOST:
        hint = "billp compare takes more"
        raise ConfigError(
            f"{len(runs)} runs are too many for a page, which takes {_MOST}", hint=hint
        )
    return runs, [name for name in inside if name not in runs]


def _measure(asked: Asked) -> Measure:
    """Return what is compared by: a metric of somebody's own would have to be imported."""
    measure = asked.text("measure", "r_traj")
    if measure not in MEASURES:
        raise ConfigError(f"measure is {measure[:40]!r}, expected {', '.join(MEASURES)}")
    return cast(Measure, measure)


def _choice(names: Sequence[str]) -> ChoiceFacts:
    above = [name.rpartition("/")[0] for name in names]
    folders = sorted({name for name in above if name and above.count(name) > 1})
    return ChoiceFacts([*names], folders)


def _facts(
    asked: Asked, runs: list[str], read: Sequence[RunOutcomes], found: Comparison
) -> CompareFacts:
    told = curves(read, found.measure)
    several = any(group.iqm.low is not None for group in found.aggregates.groups)
    return CompareFacts(
        runs=runs,
        folder=asked.run or asked.text("folder"),
        measure=found.measure,
        measures=MEASURES,
        reference=asked.text("reference"),
        labels=[group.label for group in found.groups],
        environment=found.environment,
        sheets=[*found.sheets()],
        notes=[*below(found)],
        forest=forest(found) if found.pairs else None,
        learning=learning(told) if told else None,
        profiles=profiles(found.aggregates, found.measure) if several else None,
        latex=as_latex(found),
        markdown=as_markdown(found),
        users=_users(asked, runs, read) if len(runs) > 1 else None,
    )


def _users(asked: Asked, runs: list[str], read: Sequence[RunOutcomes]) -> UsersFacts:
    one = _named(asked, "one", runs, runs[0])
    other = _named(asked, "other", runs, _facing(one, runs, read))
    measure = _measure(asked)
    ledgers = [asked.kept.ledger(asked.folder.run(name)) for name in (one, other)]
    visits = paired(ledgers[0], ledgers[1], measure)
    both = [visit for visit in visits if visit.gap is not None]
    pages = max(1, -(-len(visits) // _SHOWN))
    page = min(asked.number("page", 0), pages - 1)
    rows = [_point(visit, measure) for visit in both[:: -(-len(both) // _DRAWN) or 1]]
    return UsersFacts(
        one=one,
        other=other,
        total=len(visits),
        both=len(both),
        drawn=len(rows),
        page=page,
        pages=pages,
        visits=tuple(visits[page * _SHOWN : (page + 1) * _SHOWN]),
        spec=against(rows, one, other, measure),
    )


def _named(asked: Asked, name: str, runs: Sequence[str], default: str) -> str:
    said = asked.text(name, default)
    if said not in runs:
        raise ConfigError(f"{said[:80]!r} is none of the runs that are compared")
    return said


def _facing(one: str, runs: Sequence[str], read: Sequence[RunOutcomes]) -> str:
    """Return a run to set against *one*: of its seed, and so its users, if there is one."""
    seeds = {name: run.head.seed for name, run in zip(runs, read, strict=True)}
    others = [name for name in runs if name != one]
    return next((name for name in others if seeds[name] == seeds[one]), others[0])


def _point(visit: PairedVisit, measure: Measure) -> Row:
    one, other = visit.one, visit.other
    if one is None or other is None:
        raise ValueError("a visit in one run only has no point")
    values = {"one": value_of(one, measure), "other": value_of(other, measure)}
    return {"user": visit.user, "session": visit.session, "k": one.episode, **values}
