"""What pages are made of besides their facts: templates, styles, modules, and Vega.

Vega, Vega-Lite and Vega-Embed come with vl-convert-python and are put into one file when they are
first asked for; that takes two seconds once for each version of it.
"""

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from platformdirs import user_cache_path

from engine.errors import RunDirectoryError
from sim.views.charts.writing import embedding
from storage.runs import write_whole

VEGA = "vega.js"
_OFFERED = "window.vega = vega; window.vegaLite = vegaLite; window.vegaEmbed = vegaEmbed;"
_STATIC = files(__package__ or "") / "static"


@dataclass(frozen=True)
class Asset:
    """A file for browsers, with its type and a mark that changes with it."""

    body: bytes
    kind: str
    mark: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mark", sha256(self.body).hexdigest()[:16])


@cache
def assets() -> Mapping[str, Asset]:
    """Return styles and modules by name; they are read once."""
    return {
        entry.name: Asset(entry.read_bytes(), mimetypes.guess_type(entry.name)[0] or "text/plain")
        for entry in _STATIC.iterdir()
        if entry.is_file() and entry.name.endswith((".css", ".js", ".svg"))
    }


def marks() -> Mapping[str, str]:
    """Return for each asset what its address is to end with, so that no old one is shown."""
    return {name: asset.mark for name, asset in assets().items()}


@cache
def vega() -> Asset:
    """Return Vega, Vega-Lite and Vega-Embed as one script."""
    path = user_cache_path("billp") / f"vega-{version('vl-convert-python')}.js"
    return Asset(_kept(path), "text/javascript")


def _kept(path: Path) -> bytes:
    """Return the script at *path*, made if it is not there; it need not be kept."""
    try:
        return path.read_bytes()
    except OSError:
        made = embedding(_OFFERED).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, made)
    except (OSError, RunDirectoryError):
        return made
    return made
