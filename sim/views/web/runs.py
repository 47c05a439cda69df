"""The page of all runs of a folder: each in a row, forks below their parents."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.errors import RunDirectoryError
from sim.analysis.listing import RunCard, card_of, in_families, with_parents
from sim.views.web.folder import check_own
from sim.views.web.page import Asked, Page
from storage.runs import RunDirectory

_DEEPEST = 6  # steps to the right; of forks below that all stand there


@dataclass(frozen=True)
class RunRow:
    """A run in the table: its *card*, and how deep it stands below the run it was forked from."""

    card: RunCard
    depth: int

    @property
    def short(self) -> str:
        """The last part of its name."""
        return PurePosixPath(self.card.name).name

    @property
    def above(self) -> str:
        """The parts of its name before the last, with a slash; empty for one part."""
        return self.card.name[: -len(self.short)]

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why its episodes ended, the most frequent first."""
        return sorted(self.card.reasons.items(), key=lambda one: (-one[1], one[0]))


@dataclass(frozen=True)
class RunsFacts:
    """All runs; what they have to choose from: *agents* and *statuses*; what is *live*.

    *common* is what all of them have in common, which no column has to say.
    """

    root: str
    rows: tuple[RunRow, ...]
    common: dict[str, str]
    agents: tuple[str, ...]
    statuses: tuple[str, ...]
    live: int


def runs_page(asked: Asked) -> Page:
    """Return the page of all runs; raises RunDirectoryError if there is no folder any more."""
    folder = asked.folder
    cards = with_parents(
        [asked.kept.card(folder.root / name, name, _card) for name in folder.names()]
    )
    facts = RunsFacts(
        root=str(folder.root),
        rows=tuple(RunRow(card, min(depth, _DEEPEST)) for depth, card in in_families(cards)),
        common=dict(_common(cards)),
        agents=tuple(sorted({card.agent for card in cards if card.agent})),
        statuses=tuple(sorted({card.status for card in cards})),
        live=sum(card.status == "live" for card in cards),
    )
    return Page("runs.html", facts)


def _card(path: Path, name: str) -> RunCard:
    """Return the card of a run; one whose files are not its own is not read."""
    try:
        check_own(RunDirectory(path))
    except RunDirectoryError as error:
        return RunCard(name=name, path=str(path), status="damaged", trouble=str(error))
    return card_of(path, name)


def _common(cards: Sequence[RunCard]) -> Iterator[tuple[str, str]]:
    """Yield what all runs that can be read have in common, if there are several."""
    for name in ("model", "environment"):
        values = {getattr(card, name) for card in cards if card.status != "damaged"}
        if len(values) == 1 and len(cards) > 1:
            yield name, values.pop()
