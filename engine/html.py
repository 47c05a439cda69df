"""Small tables for notebooks: nothing that comes from outside is obeyed by who shows them.

They have no colours of their own, and so those of the page, light or dark.
"""

from collections.abc import Container, Iterable, Sequence
from html import escape

from engine.text import visible

_CELL = "padding:0.15em 1em 0.15em 0;border:0;background:none;font-variant-numeric:tabular-nums"


def table(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str = "",
    words: Container[int] = (0,),
) -> str:
    """Return a table with *names* above its columns; those that hold no *words* hold numbers."""
    sides = ["left" if place in words else "right" for place in range(len(names))]
    head = _row("th", names, [f"border-bottom:1px solid;text-align:{side}" for side in sides])
    body = "".join(_row("td", row, [f"text-align:{side}" for side in sides]) for row in rows)
    caption = f"<caption {_style('text-align:left')}>{_inert(title)}</caption>" if title else ""
    return (
        f"<table {_style('border-collapse:collapse;border:0;margin:0.5em 0')}>{caption}"
        f"<thead>{head}</thead><tbody>{body}</tbody></table>"
    )


def note(text: str) -> str:
    """Return a line below a table."""
    style = _style("opacity:0.75;max-width:60em;overflow-wrap:anywhere")
    return f"<div {style}>{_inert(text)}</div>"


def _row(kind: str, cells: Sequence[str], styles: Sequence[str]) -> str:
    shown = (
        f"<{kind} {_style(f'{_CELL};{style}')}>{_inert(cell)}</{kind}>"
        for cell, style in zip(cells, styles, strict=True)
    )
    return f"<tr {_style('background:none')}>{''.join(shown)}</tr>"


def _style(text: str) -> str:
    return f'style="{text}"'


def _inert(text: str) -> str:
    return escape(visible(text))
