"""Templates: all that comes from outside is text in them, and no control character is obeyed."""

from collections.abc import Mapping
from functools import cache
from urllib.parse import quote, urlencode

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from engine.text import visible
from sim.views.web.assets import marks


@cache
def templates() -> Environment:
    """Return the templates, with what they may call."""
    found = Environment(
        loader=PackageLoader(__package__ or "", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    found.filters.update(
        whole=lambda value: f"{value:,}",
        short=short,
        signed=lambda value, places=2: f"{value:+.{places}f}".replace("-", "−"),
        plain=lambda value: f"{value:g}".replace("-", "−"),
        fixed=lambda value, places=2: "–" if value is None else f"{value:.{places}f}",
        percent=lambda value: "–" if value is None else f"{value:.0%}",
        duration=duration,
        reason=reason,
        as_json=as_json,
    )
    found.globals.update(asset=asset, link=link)
    return found


def rendered(template: str, facts: object, frame: Mapping[str, object]) -> str:
    """Return a page: *facts* is what it shows, *frame* what all pages have in common."""
    return templates().get_template(template).render(page=facts, **frame)


def as_json(value: object) -> str:
    """Return *value* as JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def asset(name: str) -> str:
    """Return the address of a style or a module."""
    return f"/static/{name}?{marks()[name]}"


def link(kind: str, run: str = "", **query: object) -> str:
    """Return the address of a page, of a *run* if it is of one."""
    asked = urlencode(
        {name: value for name, value in query.items() if value is not None},
        errors="surrogateescape",
    )
    named = quote(run, errors="surrogateescape")  # a folder's name may be any bytes
    return f"/{kind}{'/' if run else ''}{named}{'?' if asked else ''}{asked}"


def short(count: float) -> str:
    """Return a count in three digits or so."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= limit:
            return f"{count / limit:.3g}{unit}"
    return f"{count:.3g}" if isinstance(count, float) else str(count)


def duration(seconds: float | None) -> str:
    """Return a time span in words."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def reason(name: str) -> str:
    """Return the class, and so the colour, of why an episode ended: the same on every page."""
    known = {"limit": 5, "similar": 0, "bored": 1, "reward": 1, "left": 2, "failed": 6}
    return f"c{known.get(name, sum(name.encode()) % 5)}"


def _shown(value: object) -> object:
    """Return what stands in a page for *value*: markup is ours alone."""
    if isinstance(value, Markup) or value is None:
        return "" if value is None else value
    return escape(visible(str(value), lines=True))
