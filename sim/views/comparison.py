"""A comparison of agents as a table: for the terminal, for Markdown, for LaTeX."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.console import Group as Page
from rich.measure import Measurement
from rich.table import Table

from engine.text import visible
from sim.analysis.comparison import PAIRS, Comparison, below, group_row, pair_row
from sim.analysis.outcomes import column_of


def comparison_page(found: Comparison) -> Page:
    """Return what a terminal shows."""
    means = [group_row(group)[:-1] for group in found.groups]
    parts: list[RenderableType] = [
        _Whole("Means with 95 % intervals over users and seeds", found.columns[:-1], means)
    ]
    if found.pairs:
        title = f"Differences of {column_of(found.measure)}, user by user"
        parts.append(_Whole(title, PAIRS, [pair_row(pair) for pair in found.pairs]))
    return Page(*parts, *below(found))


_NARROWEST = 16  # to what labels are folded
_WIDEST = 10_000


@dataclass(frozen=True)
class _Whole:
    """A table that is wider than its terminal rather than without some of its numbers."""

    title: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(max_width=_WIDEST)
        needed = Measurement.get(console, wide, self._table(_NARROWEST)).minimum
        shown = options.update(max_width=max(needed, options.max_width))
        yield from console.render(self._table(), shown)

    def _table(self, label: int | None = None) -> Table:
        """Return the table, its labels folded to a width of *label* at most."""
        table = Table(title=self.title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column(self.names[0], overflow="fold", max_width=label)
        columns = [*zip(self.names, *self.rows, strict=True)]
        for name, *cells in columns[1:]:
            width = max(map(len, (name, *cells)))
            table.add_column(name, justify="right", no_wrap=True, min_width=width)
        for row in self.rows:
            table.add_row(*row)
        return table


# -- to paste elsewhere


def as_markdown(found: Comparison) -> str:
    """Return the comparison as Markdown tables."""
    parts = [_markdown(found.columns, map(group_row, found.groups))]
    if found.pairs:
        parts.append(_markdown(PAIRS, map(pair_row, found.pairs)))
    parts.append("\n".join(map(_inert, below(found))) + "\n")
    return "\n".join(parts)


def _markdown(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    # Only labels come from outside; numbers and their brackets are ours, and plain to read.
    named = [(_inert(label), *numbers) for label, *numbers in rows]
    lines = [[*map(_inert, names)], ["---", *["---:"] * (len(names) - 1)], *named]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


_HTML = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
# An underscore within a word is one; R_traj stays readable.
_MARKDOWN = re.compile(r"[\\`*{}\[\]|~$<>&]|(?<![^\W_])_|_(?![^\W_])")


def _inert(text: str) -> str:
    """Return *text* for Markdown: no end of a cell, no emphasis, link, formula or HTML."""
    return _MARKDOWN.sub(lambda sign: _HTML.get(sign[0], f"\\{sign[0]}"), visible(text))


def as_latex(found: Comparison) -> str:
    """Return the comparison as LaTeX tables (booktabs)."""
    parts = [_latex(found.columns, map(group_row, found.groups))]
    if found.pairs:
        parts.append(_latex(PAIRS, map(pair_row, found.pairs)))
    parts += [f"% {visible(line)}\n" for line in below(found)]
    return "".join(parts)


def _latex(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"{' & '.join(map(_escaped, row))} \\\\\n" for row in rows)
    head = " & ".join(map(_escaped, names))
    columns = "l" + "r" * (len(names) - 1)
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}"
        "\\bottomrule\n\\end{tabular}\n"
    )


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "\\": "\\textbackslash{}",
    "−": "$-$",
    "…": "\\ldots{}",
    "<": "$<$",
    ">": "$>$",
}


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in visible(text))
