"""Tables by hand: whole words in the width there is, and nothing said twice.

Of ten thousand rows, what rich draws takes longer than all that is read for them; and it cuts words
where columns are many.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sim.views.console import folded

GAP = "  "


@dataclass(frozen=True)
class Column:
    """A column: its *name*, a cell for each row, to the left if they are *words*.

    *worth* is what it is worth where there is no room: the least is left out first; 0 stays. One
    that is *told_once* stands above the table if it says the same everywhere.
    """

    name: str
    cells: Sequence[str]
    words: bool = False
    worth: int = 0
    told_once: bool = False

    @property
    def width(self) -> int:
        """How wide it is."""
        return max(map(len, (self.name, *self.cells)))

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        return not any(self.cells)

    def lines(self) -> list[str]:
        """Return the column, name first, each line of its width."""
        texts = (self.name, *self.cells)
        width = self.width
        return [text.ljust(width) if self.words else text.rjust(width) for text in texts]


def table(columns: Sequence[Column], width: int) -> list[str]:
    """Return the lines of a table in a *width*: what is the same in all rows once, above it.

    Empty columns are left out; then, where there is no room, those that are worth least, which the
    last line names.
    """
    some = [column for column in columns if not column.empty]
    once = [column for column in some if _is_same(column)]
    left = [column for column in some if not _is_same(column)]
    kept = _fitting(left, width)
    cut = [column.name for column in left if column not in kept]
    rows = [GAP.join(cells).rstrip() for cells in zip(*(one.lines() for one in kept), strict=True)]
    above = "All: " + ", ".join(f"{column.name} {column.cells[0]}" for column in once) + "."
    below = f"Left out, as the screen is narrow: {', '.join(cut)}."
    return [
        *([*folded(above, width), ""] if once else []),
        *rows,
        *(["", *folded(below, width)] if cut else []),
    ]


def _is_same(column: Column) -> bool:
    return column.told_once and len(column.cells) > 1 and len({*column.cells}) == 1


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return those of *columns* for which there is room."""
    kept = list(columns)
    by_worth = sorted((one for one in columns if one.worth), key=lambda one: one.worth)
    for least in by_worth:
        if sum(one.width + len(GAP) for one in kept) - len(GAP) <= width:
            break
        kept.remove(least)
    return kept
