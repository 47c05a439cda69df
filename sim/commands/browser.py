"""The pages for a browser, which need more than the rest: the extra `view`."""

from importlib import import_module
from typing import Any

from engine.errors import ConfigError


def web_pages(what: str) -> Any:
    """Return the pages; raises ConfigError if what they need is not installed."""
    try:
        return import_module("sim.views.web.offered")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("sim"):
            raise
        hint = "pip install 'billp[view]'"
        raise ConfigError(f"{what} needs the extra view: {error}", hint=hint) from error
