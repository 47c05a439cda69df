"""Figures: the door to charts for who may lack them; the extra `view` brings what draws them."""

from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from storage.parts import of_extra

_FORMS = (".png", ".svg", ".pdf", ".html")


def charts(what: str, *, instead: str = "") -> Any:
    """Return what draws and writes charts (`sim.views.charts.offered`).

    Raises ConfigError if *what* cannot be drawn because the extra is missing. Importing it takes
    the better part of a second, and commands that draw nothing do not wait for it.
    """
    return of_extra("sim.views.charts.offered", "view", what, instead=instead)


def check_plot(path: Path) -> None:
    """Raise ConfigError if a plot cannot be drawn at *path*."""
    if path.suffix.casefold() not in _FORMS:
        wanted = f"{', '.join(_FORMS[:-1])} or {_FORMS[-1]}"
        raise ConfigError(f"--plot: expected a file named {wanted}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise ConfigError(f"--plot: there is no directory {str(path.parent)!r}")
    charts("--plot")
