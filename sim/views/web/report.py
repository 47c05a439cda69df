"""A report: runs in one file that works from a disk, without a network and without scripts.

Charts are pictures in it: they need no Vega, which would be most of the file, can be printed, and
leave nothing that could be executed, so that the policy of the file allows no script at all.
"""

import re
from base64 import b64encode
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from engine.errors import BillpError, RunDirectoryError
from sim.analysis.memory.recorded import open_memories
from sim.analysis.sampling import Sampled, sample
from sim.views.charts.course import course
from sim.views.charts.look import Spec, titled
from sim.views.charts.writing import drawn, write_chart
from sim.views.memory_map import MemoryMap
from sim.views.web.assets import assets
from sim.views.web.compare import CompareFacts, compare_page
from sim.views.web.episode import EpisodeFacts, episode_page
from sim.views.web.folder import Folder
from sim.views.web.page import Asked
from sim.views.web.run import RunFacts, run_page
from sim.views.web.templating import rendered
from sim.views.web.trend import TrendFacts, trend_page

MOST = 4 << 20
"""Bytes of episodes in a report; what would be beyond is left out, and that is said."""

_STYLES = ("look.css", "run.css", "episode.css", "compare.css", "report.css")
_TITLES = {
    "rewards": "R_traj, block by block of episodes, with 95 % of the mean",
    "reasons": "Why episodes ended",
    "categories": "What was recommended, by category",
    "memory": "What the memories hold",
    "forest": "Paired differences, with 95 % intervals",
    "learning": "Learning curves, with the 95 % band",
    "profiles": "Performance profiles: the share of runs that score more than τ",
}
_LOCAL = re.compile(r'(?<= )(id="|aria-labelledby="|href="#)(?!!)')
_NAMES = re.compile(r' id="([^"]+)"')
_LINKS = re.compile(r'<a href="#([^"]*)"[^>]*>(.*?)</a>', re.DOTALL)


@dataclass(frozen=True)
class Picture:
    """A chart in a report, called *name*, with its *source* as data."""

    name: str
    title: str
    spec: Spec
    source: str


@dataclass(frozen=True)
class Shown:
    """An episode in a report: where it stands in it, and what the page of it shows."""

    place: str
    sampled: Sampled
    facts: EpisodeFacts
    body: Markup


@dataclass(frozen=True)
class Told:
    """A run in a report; *untold* says what is not in it, and why."""

    place: str
    facts: RunFacts
    pictures: tuple[Picture, ...]
    episodes: tuple[Shown, ...]
    untold: tuple[str, ...]


@dataclass(frozen=True)
class ReportFacts:
    """What a report shows; *uncompared* says why runs are not compared, if they are not."""

    title: str
    style: Markup
    policy: str
    version: str
    unfolded: bool
    runs: tuple[Told, ...]
    comparison: CompareFacts | None
    compared: tuple[Picture, ...]
    uncompared: str

    @property
    def pictures(self) -> Iterator[tuple[str, Spec]]:
        """All charts, each with a name for its file."""
        for one in self.compared:
            yield one.name, titled(one.spec, one.title)
        for told in self.runs:
            for one in told.pictures:
                run = told.facts.run.replace("/", "-")
                yield f"{run}-{one.name}", titled(one.spec, one.title)


def report(folder: Folder, episodes: int) -> ReportFacts:
    """Return a report on all runs of *folder*, with so many *episodes* of each.

    Raises what reading a run raises.
    """
    names = folder.names()
    if not names:
        raise RunDirectoryError(f"{folder.root}: there is no run to report on")
    asked = [Asked(folder, name, query={}) for name in names]
    writer = _Writer(episodes)
    comparison, uncompared = _compared(folder, names)
    style = "".join(assets()[name].body.decode() for name in _STYLES)
    return ReportFacts(
        title=names[0] if len(names) == 1 else f"{len(names)} runs",
        style=Markup(style),
        policy=_policy(style),
        version=version("billp"),
        unfolded=False,
        runs=tuple(writer.told(one, place) for place, one in enumerate(asked)),
        comparison=comparison,
        compared=tuple(_of_comparison(comparison)) if comparison else (),
        uncompared=uncompared,
    )


def unfolded(facts: ReportFacts) -> ReportFacts:
    """Return a report in which all is open that readers would open: for paper."""
    return replace(facts, unfolded=True)


def report_html(facts: ReportFacts) -> str:
    """Return a report as one file."""
    text = rendered("report.html", facts, {})
    # What models say cannot look like that: in text "<" is escaped.
    return text.replace("<details", "<details open") if facts.unfolded else text


def write_plots(facts: ReportFacts, directory: Path) -> list[Path]:
    """Write all charts to *directory* as SVG and PNG; return where they are."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, spec in facts.pictures:
        for form in ("svg", "png"):
            path = directory / f"{name}.{form}"
            write_chart(spec, path)
            paths.append(path)
    return paths


def _policy(style: str) -> str:
    """Return what a browser lets a report do: be styled by its own style, and show its pictures."""
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:"


def _compared(folder: Folder, names: Sequence[str]) -> tuple[CompareFacts | None, str]:
    ended = [name for name in names if folder.run(name).finished]
    if len(names) < 2:
        return None, ""
    if len(ended) < 2:
        return None, "fewer than two have come to their end"
    try:
        facts = compare_page(Asked(folder, several={"run": ended})).facts
    except BillpError as error:
        return None, _placeless(str(error), folder)
    if not isinstance(facts, CompareFacts):
        raise TypeError(f"expected a comparison, got {facts!r}")
    return replace(facts, notes=[_placeless(note, folder) for note in facts.notes]), ""


def _of_comparison(found: CompareFacts) -> Iterator[Picture]:
    charts = {"forest": found.forest, "learning": found.learning, "profiles": found.profiles}
    for name, spec in charts.items():
        if spec is not None:
            yield _picture(name, spec, "svg")


def _picture(name: str, spec: Spec, form: str) -> Picture:
    kind = "svg+xml" if form == "svg" else form
    data = b64encode(drawn(spec, form)).decode()
    return Picture(name, _TITLES[name], spec, f"data:image/{kind};base64,{data}")


@dataclass(eq=False)
class _Writer:
    """Writes runs with so many *episodes* each, until there are too many bytes of them."""

    episodes: int
    written: int = 0

    def told(self, asked: Asked, place: int) -> Told:
        """Return a run of a report."""
        facts = run_page(asked).facts
        if not isinstance(facts, RunFacts):
            raise TypeError(f"expected a run, got {facts!r}")
        untold: list[str] = []
        pictures = tuple(self._pictures(asked, untold))
        shown = tuple(self._shown(asked, f"r{place}", untold))
        return Told(f"r{place}", facts, pictures, shown, tuple(untold))

    def _pictures(self, asked: Asked, untold: list[str]) -> Iterator[Picture]:
        trend = trend_page(asked).facts
        if isinstance(trend, TrendFacts):
            for name, spec in course(trend.points).items():
                yield _picture(name, spec, "svg")
            if trend.why:
                untold.append(f"categories: {trend.why}")
        try:
            memories = MemoryMap(open_memories(asked.directory.path).every())
            # Thousands of points are smaller as a picture than as so many circles.
            yield _picture("memory", memories.chart(""), "png")
        except BillpError as error:
            untold.append(f"a map of memories: {_placeless(str(error), asked.folder)}")

    def _shown(self, asked: Asked, place: str, untold: list[str]) -> Iterator[Shown]:
        chosen = sample(asked.ledger, self.episodes)
        places = {one.episode: f"{place}e{one.episode}" for one in chosen}
        for one in chosen:
            if self.written > MOST:
                untold.append(f"episode {one.episode}: the report is long enough")
                continue
            query = {"k": str(one.episode)}
            facts = episode_page(Asked(asked.folder, asked.run, asked.kept, query)).facts
            if isinstance(facts, EpisodeFacts):
                body = _body(facts, places)
                self.written += len(body)
                yield Shown(places[one.episode], one, facts, body)


def _placeless(said: str, folder: Folder) -> str:
    """Return what is said of runs without where they lie: that is for nobody who reads a report."""
    return said.replace(f"{folder.root}/", "")


def _body(facts: EpisodeFacts, places: Mapping[int, str]) -> Markup:
    """Return an episode as its page shows it, with names that no other episode here has."""

    def link(kind: str, run: str = "", **query: object) -> str:
        if kind != "episode" or run != facts.run or query.get("k") not in places:
            return "#"
        if query["k"] == facts.episode:
            return f"#n{query['n']}" if "n" in query else "#"
        return f"#!{places[int(str(query['k']))]}"

    text = rendered("reported.html", facts, {"link": link, "pages": (), "path": ""})
    known = {*_NAMES.findall(text)}
    linked = _LINKS.sub(lambda found: found[0] if _leads(found[1], known) else found[2], text)
    own = _LOCAL.sub(rf"\1{places[facts.episode]}-", linked)
    return Markup(own.replace('href="#!', 'href="#'))


def _leads(target: str, known: Container[str]) -> bool:
    """Tell whether a link leads anywhere: to another episode of the report, or within this one."""
    return target.startswith("!") or target in known
