"""The page of all runs of a folder."""

from dataclasses import dataclass

from sim.views.web.page import Asked, Page


@dataclass(frozen=True)
class RunsFacts:
    """The names of all runs."""

    names: list[str]


def runs_page(asked: Asked) -> Page:
    """Return the page of all runs."""
    return Page("runs.html", RunsFacts(asked.folder.names()))
