"""Charts as files: .svg, .png, .pdf or .html, each the same bytes for the same chart.

Nothing is fetched: scripts and fonts come with vl-convert-python.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import vl_convert

from engine.errors import ConfigError
from sim.views.charts.look import Spec, paper
from storage.runs import write_whole

_WIDTH = 460  # of a chart that is as wide as its place, in points
_SCALE = 2  # pixels of a picture for each point
_ALLOWED: list[str] = []  # addresses that a chart may fetch from

_TAG = re.compile(r"<[a-z][^<>]*>")
_GEOMETRY = re.compile(r'(?<= )(transform|d|x\d?|y\d?|cx|cy|r|width|height)="([^"]*)"')
_LONG = re.compile(r"(\.\d\d)\d+")
_DIGITS = r"\1"
_NAMED = re.compile(r'(?<= id=")([a-z]+_?)\d+(?=")|(?<=url\(#)([a-z]+_?)\d+(?=\))')


def embedding(offered: str) -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, which ends with what is *offered*."""
    return vl_convert.javascript_bundle(offered)


def write_chart(spec: Spec, path: Path) -> None:
    """Write a chart to *path*, in the form that its ending names.

    Raises ConfigError for another ending, and what writing raises.
    """
    write_whole(path, drawn(spec, form_of(path)))


def form_of(path: Path) -> str:
    """Return the form that the ending of *path* names; raises ConfigError if there is none."""
    form = path.suffix.removeprefix(".").casefold()
    if form not in _DRAWING:
        *most, last = (f".{one}" for one in _DRAWING)
        wanted = f"{', '.join(most)} or {last}"
        raise ConfigError(f"expected a file named {wanted}, got {str(path)!r}")
    return form


def drawn(spec: Spec, form: str) -> bytes:
    """Return a chart in a *form*: svg, png, pdf or html."""
    return _DRAWING[form](on_paper(spec))


def on_paper(spec: Spec) -> Spec:
    """Return *spec* with a width of its own, where it had that of its place."""
    return {**spec, "width": _WIDTH} if spec.get("width") == "container" else spec


def _svg(spec: Spec) -> bytes:
    found = vl_convert.vegalite_to_svg(spec, config=paper(), allowed_base_urls=_ALLOWED)
    return _settled(found).encode()


def _settled(svg: str) -> str:
    """Return *svg* in its one form: names in order, and to a hundredth of a point.

    Names of clips and gradients are counted on from chart to chart; and most of a map of points
    would be digits that cannot be seen. Text stays as it is, for it is in no tag.
    """
    names: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        kind = found[1] or found[2]
        return names.setdefault(found[0], f"{kind}{len(names)}")

    def tag(found: re.Match[str]) -> str:
        short = _GEOMETRY.sub(lambda one: f'{one[1]}="{_LONG.sub(_DIGITS, one[2])}"', found[0])
        return _NAMED.sub(named, short) if "#" in short or " id=" in short else short

    return _TAG.sub(tag, svg)


def _png(spec: Spec) -> bytes:
    return vl_convert.svg_to_png(_svg(spec).decode(), scale=_SCALE)


def _pdf(spec: Spec) -> bytes:
    return vl_convert.svg_to_pdf(_svg(spec).decode())


def _html(spec: Spec) -> bytes:
    return vl_convert.vegalite_to_html(spec, config=paper(), bundle=True).encode()


_DRAWING: Mapping[str, Callable[[Spec], bytes]] = {
    "svg": _svg,
    "png": _png,
    "pdf": _pdf,
    "html": _html,
}
