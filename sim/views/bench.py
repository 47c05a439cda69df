"""The performance book, in the terminal and as Markdown."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table

from engine.text import visible
from sim.bench.book import Book
from sim.bench.figures import Chapter, Figure

_COLUMNS = ("", "", "CPU s", "times a yardstick")


def bench_view(book: Book) -> Group:
    """Return the book as it is read in a terminal."""
    parts: list[RenderableType] = [*_head(book)]
    for chapter in book.chapters:
        parts += ["", f"{chapter.title} ({chapter.name})", chapter.how]
        if chapter.figures:
            parts.append(_table(chapter))
        parts += chapter.notes
    return Group(*parts)


def bench_markdown(book: Book) -> str:
    """Return the book as a page of Markdown."""
    lines = ["# What billp costs", "", *(f"- {line}" for line in _head(book))]
    for chapter in book.chapters:
        lines += ["", f"## {chapter.title}", "", f"`{chapter.name}`: {chapter.how}"]
        if chapter.figures:
            lines += ["", f"| {' | '.join(_COLUMNS)} |", "|---|---:|---:|---|"]
            lines += [f"| {' | '.join(_cells(figure))} |" for figure in chapter.figures]
        lines += [line for note in chapter.notes for line in ("", note)]
    return visible("\n".join([*lines, ""]), lines=True)


def _head(book: Book) -> Iterator[str]:
    process, machine = book.process, book.machine
    commit = f"commit {process.commit[:12]}" if process.commit else "no checkout"
    changed = ", changed since" if process.changed else ", clean" if process.commit else ""
    yield f"billp {process.version}, {commit}{changed}; {process.started} to {process.ended}"
    yield f"{machine.processor}, processors: {machine.cores}; {process.platform}"
    before, after = machine.load
    yield f"Python {process.python}; load {before:.1f} at the beginning, {after:.1f} at the end"
    first, last = machine.reads
    yield f"a number anywhere in 64 MB takes {first:.1f} ns at the beginning, {last:.1f} at the end"
    yield process.command


def _table(chapter: Chapter) -> Table:
    table = Table(box=None, pad_edge=False)
    for name, justify in zip(_COLUMNS, ("left", "right", "right", "left"), strict=True):
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    for figure in chapter.figures:
        table.add_row(*_cells(figure))
    return table


def _cells(figure: Figure) -> tuple[str, str, str, str]:
    ratio = "" if figure.ratio is None else f"{_number(figure.ratio)} × {figure.yardstick}"
    value = f"{_number(figure.value)} {figure.unit}"
    return figure.what, value, f"{figure.seconds:.2f}", ratio


def _number(value: float) -> str:
    """Return a number with three digits that count, or all of those before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 if value < 10 else 1}f}" if value >= 0.1 else f"{value:.2g}"
