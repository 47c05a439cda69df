"""What a page is: typed facts, made of runs by a plain function, and a template that shows them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from engine.errors import ConfigError, RunDirectoryError
from sim.analysis.ledger import Ledger
from sim.views.web.folder import Folder
from sim.views.web.kept import Kept
from storage.runs import RunDirectory

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """What somebody wants to see: the *run* that the address names, and the *query* after it."""

    folder: Folder
    run: str = ""
    kept: Kept = field(default_factory=Kept)
    query: Mapping[str, str] = field(default_factory=dict)
    several: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def directory(self) -> RunDirectory:
        """The run; raises RunDirectoryError if there is none."""
        return self.folder.run(self.run)

    @property
    def ledger(self) -> Ledger:
        """The episodes of the run, as far as they are written now; raises TraceError for damage."""
        return self.kept.ledger(self.directory)

    def text(self, name: str, default: str = "") -> str:
        """Return what the query says of *name*."""
        return self.query.get(name, default)

    def number(self, name: str, default: int | None = None) -> int:
        """Return a whole number of the query; raises ConfigError if it is none, or not there."""
        said = self.query.get(name)
        if said is None:
            if default is None:
                raise ConfigError(f"the address does not say which {name} is meant")
            return default
        if not (said.isascii() and said.isdecimal() and len(said) < 16):
            raise ConfigError(f"{name} is {said[:40]!r}, expected a whole number")
        return int(said)

    def every(self, name: str) -> list[str]:
        """Return all that the query says of *name*."""
        return list(self.several.get(name, ()))


@dataclass(frozen=True)
class Page:
    """A *template* with the *facts* that it shows, as a frozen dataclass or struct."""

    template: str
    facts: object
    status: int = 200


Making: TypeAlias = Callable[[Asked], Page]
"""Makes a page; called in a thread of its own, so it may read files, but must not touch a run that
is under way in this process."""


@dataclass(frozen=True)
class Trouble:
    """What is shown in place of a page that cannot be made."""

    title: str
    what: str
    hint: str = ""


def trouble(error: Exception, hint: str = "") -> Page:
    """Return the page that says what is wrong."""
    missing = isinstance(error, RunDirectoryError)
    title = "Not here" if missing else "This cannot be shown"
    return Page("trouble.html", Trouble(title, str(error), hint), status=404 if missing else 400)
