"""The pages for a browser, which need more than the rest: the extra `view`."""

from typing import Any

from storage.parts import of_extra


def web_pages(what: str) -> Any:
    """Return the pages; raises ConfigError if what they need is not installed."""
    return of_extra("sim.views.web.offered", "view", what)
