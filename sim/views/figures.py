"""Figures: the door to matplotlib, which the extra `plot` brings."""

from importlib import import_module
from io import BytesIO
from typing import Any

from engine.errors import ConfigError
from engine.text import visible


def check_plotting(what: str, *, instead: str = "") -> None:
    """Raise ConfigError if *what* cannot be drawn because the extra is missing."""
    try:
        import_module("matplotlib")
        import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        hint = "pip install 'billp[plot]'" + (f", or {instead}" if instead else "")
        raise ConfigError(f"{what} needs the extra plot: {error}", hint=hint) from error


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of so many inches."""
    return import_module("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def caption(text: str) -> str:
    """Return *text* for a figure: visible, and no formula."""
    return visible(text).replace("$", r"\$")


def drawn(figure: Any, form: str) -> bytes:
    """Return *figure* as `png` or `svg`: the same bytes for the same figure."""
    data = BytesIO()
    # Neither dates nor ids that differ from file to file.
    with import_module("matplotlib").rc_context({"svg.hashsalt": "billp"}):
        about = {"Date": None} if form == "svg" else {}
        figure.savefig(data, format=form, dpi=150, metadata=about)
    return data.getvalue()
