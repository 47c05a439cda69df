"""A comparison of agents as a table: for the terminal, for Markdown, for LaTeX."""

import re
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.console import Group as Page
from rich.measure import Measurement
from rich.table import Table

from engine.errors import ConfigError
from engine.text import visible
from sim.analysis.comparison import Comparison, below
from sim.analysis.outcomes import column_of
from sim.analysis.sheets import Sheet
from sim.views.figures import charts


def comparison_page(found: Comparison) -> Page:
    """Return what a terminal shows."""
    return Page(*map(_Whole, found.sheets()), *below(found))


_NARROWEST = 16  # to what labels are folded
_WIDEST = 10_000


@dataclass(frozen=True)
class _Whole:
    """A table that is wider than its terminal rather than without some of its numbers."""

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(max_width=_WIDEST)
        needed = Measurement.get(console, wide, self._table(_NARROWEST)).minimum
        shown = options.update(max_width=max(needed, options.max_width))
        yield from console.render(self._table(), shown)

    def _table(self, label: int | None = None) -> Table:
        """Return the table, its labels folded to a width of *label* at most."""
        sheet = self.sheet
        table = Table(
            title=sheet.title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        table.add_column(sheet.names[0], overflow="fold", max_width=label)
        columns = [*zip(sheet.names, *sheet.rows, strict=True)]
        for name, *cells in columns[1:]:
            width = max(map(len, (name, *cells)))
            table.add_column(name, justify="right", no_wrap=True, min_width=width)
        for row in sheet.rows:
            table.add_row(*row)
        return table


def plot(found: Comparison, path: Path) -> None:
    """Draw the differences into a file; raises ConfigError if there are none, or nobody draws."""
    if not found.pairs:
        raise ConfigError("--plot: there is one group only, and so no difference to draw")
    drawing = charts("--plot")
    title = f"Differences of {column_of(found.measure)}"
    drawing.write_chart(drawing.titled(drawing.forest(found), title), path)


# -- to paste elsewhere


def as_markdown(found: Comparison) -> str:
    """Return the comparison as Markdown tables."""
    parts = [f"**{_inert(sheet.title)}**\n\n{_markdown(sheet)}" for sheet in found.sheets()]
    return "\n".join([*parts, "\n".join(map(_inert, below(found))) + "\n"])


def _markdown(sheet: Sheet) -> str:
    # Only labels come from outside; numbers and their brackets are ours, and plain to read.
    named = [(_inert(label), *numbers) for label, *numbers in sheet.rows]
    rule = ["---", *["---:"] * (len(sheet.names) - 1)]
    lines = [[*map(_inert, sheet.names)], rule, *named]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


_HTML = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
# An underscore within a word is one; R_traj stays readable.
_MARKDOWN = re.compile(r"[\\`*{}\[\]|~$<>&]|(?<![^\W_])_|_(?![^\W_])")


def _inert(text: str) -> str:
    """Return *text* for Markdown: no end of a cell, no emphasis, link, formula or HTML."""
    return _MARKDOWN.sub(lambda sign: _HTML.get(sign[0], f"\\{sign[0]}"), visible(text))


def as_latex(found: Comparison) -> str:
    """Return the comparison as LaTeX tables (booktabs)."""
    parts = [f"% {visible(sheet.title)}\n{_latex(sheet)}" for sheet in found.sheets()]
    return "".join([*parts, *(f"% {visible(line)}\n" for line in below(found))])


def _latex(sheet: Sheet) -> str:
    body = "".join(f"{' & '.join(map(_escaped, row))} \\\\\n" for row in sheet.rows)
    head = " & ".join(map(_escaped, sheet.names))
    columns = "l" + "r" * (len(sheet.names) - 1)
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
