"""What is kept of runs between pages, so that not each page reads a whole trace; bounded."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from sim.analysis.ledger import Ledger
from sim.analysis.listing import RunCard
from sim.analysis.memory.recorded import RecordedMemories
from sim.analysis.memory.trace import Recalls, read_recalls
from sim.analysis.outcomes import RunOutcomes, read_outcomes
from sim.analysis.prompts import Prompts
from sim.analysis.trend import TraceTrend
from storage.environments import Environment
from storage.journal import Recording
from storage.runs import RunDirectory

T = TypeVar("T")

_FEW = 4  # of what is larger
_COMPARED = 32  # runs, each of some 200 bytes a visit
_MOST = 16  # runs, each of a ledger of 50 bytes an episode


def _always(_: object) -> bool:
    return True


@dataclass(eq=False)
class Held(Generic[T]):
    """The *most* things that were last asked for, by what they were made of."""

    most: int
    _things: OrderedDict[Hashable, T] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def find(self, key: Hashable) -> T | None:
        """Return the thing of *key* if it is there."""
        with self._lock:
            return self._things.get(key)

    def forget(self, key: Hashable) -> None:
        """Make the thing of *key* anew when it is asked for next."""
        with self._lock:
            self._things.pop(key, None)

    def get(self, key: Hashable, make: Callable[[], T], keep: Callable[[T], bool] = _always) -> T:
        """Return the thing of *key*, made if it is not there; two threads may make it at once.

        Made anew each time is what is not worth to *keep*, such as that something is not here yet.
        """
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
                return self._things[key]
        made = make()
        if not keep(made):
            return made
        with self._lock:
            self._things[key] = made
            while len(self._things) > self.most:
                self._things.popitem(last=False)
        return made


@dataclass(eq=False)
class Kept:
    """The ledgers of the runs that were last looked at; pages are made in several threads.

    *orders* are those of their episodes, *journals* how their calls ended, *prompts* what the calls
    of single episodes asked, and *worlds* the environments, with why one is not here.
    """

    orders: Held[Sequence[int]] = field(default_factory=lambda: Held(_MOST))
    journals: Held[Recording] = field(default_factory=lambda: Held(_FEW))
    prompts: Held[Prompts] = field(default_factory=lambda: Held(_FEW))
    worlds: Held[tuple[Environment | None, str]] = field(default_factory=lambda: Held(_FEW))
    _outcomes: Held[RunOutcomes] = field(default_factory=lambda: Held(_COMPARED))
    _ledgers: OrderedDict[Path, tuple[object, Ledger]] = field(default_factory=OrderedDict)
    _trends: Held[tuple[TraceTrend, str]] = field(default_factory=lambda: Held(_MOST))
    _recalls: Held[Recalls] = field(default_factory=lambda: Held(_FEW))
    _cards: dict[Path, tuple[object, RunCard]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def ledger(self, directory: RunDirectory) -> Ledger:
        """Return the ledger of a run, with what was written since; raises TraceError."""
        trace = directory.trace
        place, size = _file(trace)
        with self._lock:
            known, ledger = self._ledgers.pop(trace, (None, None))
            if ledger is None or known != place or size < ledger.size:
                if ledger is not None:  # it was made anew under the same name
                    self._trends.forget(trace)
                ledger = Ledger(trace)
            ledger.refresh()
            self._ledgers[trace] = place, ledger
            while len(self._ledgers) > _MOST:
                self._ledgers.popitem(last=False)
            return ledger

    def outcomes(self, directory: RunDirectory) -> RunOutcomes:
        """Return what came of each visit of a run; raises TraceError."""
        key = (directory.trace, _written(directory.trace))
        return self._outcomes.get(key, lambda: read_outcomes(directory.path))

    def card(self, path: Path, name: str, make: Callable[[Path, str], RunCard]) -> RunCard:
        """Return the card of the run at *path*, made anew if its files have changed."""
        mark = _mark(path)
        kept, card = self._cards.get(path, (None, None))
        if card is None or kept != mark or card.status == "live":  # it stops without writing
            card = make(path, name)
            self._cards[path] = mark, card
        return card

    def recalls(self, memories: RecordedMemories) -> Recalls:
        """Return what the trace of a run tells of its memories, read anew if it has grown."""
        trace = memories.directory.trace
        key = trace, trace.stat().st_size
        return self._recalls.get(key, lambda: read_recalls(trace, memories.memories))

    def known_trend(self, directory: RunDirectory) -> TraceTrend | None:
        """Return how a run goes, if a page has asked for it."""
        found = self._trends.find(directory.trace)
        return None if found is None else found[0]

    def trend(
        self, directory: RunDirectory, make: Callable[[], tuple[TraceTrend, str]]
    ) -> tuple[TraceTrend, str]:
        """Return how a run goes, as far as it was read, or what *make* returns of one that is new.

        With it comes why it tells no categories, if it tells none.
        """
        return self._trends.get(directory.trace, make)


def _file(path: Path) -> tuple[object, int]:
    """Return which file is at *path*, and its size; None and 0 if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None, 0
    return (found.st_dev, found.st_ino), found.st_size


def _mark(path: Path) -> tuple[tuple[int, int] | None, ...]:
    """Return what changes when a run at *path* is written to."""
    directory = RunDirectory(path)
    return tuple(
        map(_written, (directory.config, directory.trace, directory.journal, directory.summary))
    )


def _written(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
