"""Tables by hand: whole words in the width there is, and nothing said twice.

Of ten thousand rows, what rich draws takes longer than all that is read for them; and it cuts words
where columns are many.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from engine.text import visible
from sim.views.console import folded

_GAP = "  "
_NARROWEST = 24  # to what columns are folded, before others are left out


@dataclass(frozen=True)
class Column:
    """A column: its *name*, a cell for each row, to the left if they are *words*.

    *worth* is what it is worth where there is no room: the least is left out first; 0 stays. One
    that is *told_once* stands above the table if it says the same everywhere. One that *folds* goes
    on in further lines where there is no room.
    """

    name: str
    cells: Sequence[str]
    words: bool = False
    worth: int = 0
    told_once: bool = False
    folds: bool = False

    @cached_property
    def width(self) -> int:
        """How wide it is in one line."""
        return max(map(len, (self.name, *self.cells)))

    @property
    def least(self) -> int:
        """How wide it is at least; a word of a column that folds may be wider."""
        return min(self.width, _NARROWEST) if self.folds else self.width

    @property
    def same(self) -> bool:
        """Whether it says the same in all rows, and need not."""
        return self.told_once and len(self.cells) > 1 and len({*self.cells}) == 1

    def aligned(self, text: str, width: int) -> str:
        """Return *text* in a *width*."""
        return text.ljust(width) if self.words else text.rjust(width)


def table(columns: Sequence[Column], width: int) -> Iterator[str]:
    """Yield the lines of a table in a *width*: what is the same in all rows once, above it.

    Empty columns are left out; then, where there is no room, those that are worth least, which the
    last line names.
    """
    # Before it is measured: what a terminal would obey is longer where it is shown.
    shown = [replace(one, cells=[*map(visible, one.cells)]) for one in columns]
    some = [column for column in shown if any(column.cells)]
    once = [f"{column.name} {column.cells[0]}" for column in some if column.same]
    left = [column for column in some if not column.same]
    kept = _fitting(left, width)
    if once:
        yield from folded(f"All: {', '.join(once)}.", width)
        yield ""
    yield from _rows(kept, width)
    cut = [column.name for column in left if column not in kept]
    if cut:
        yield ""
        yield from folded(f"Left out, as the screen is narrow: {', '.join(cut)}.", width)


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return those of *columns* for which there is room."""
    kept = list(columns)
    for least in sorted((one for one in columns if one.worth), key=lambda one: one.worth):
        if _whole([one.least for one in kept]) <= width:
            break
        kept.remove(least)
    return kept


def _whole(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _rows(columns: Sequence[Column], width: int) -> Iterator[str]:
    widths = [*_widths(columns, width)]
    for texts in zip(*((one.name, *one.cells) for one in columns), strict=True):
        cells = (
            folded(text, size) if len(text) > size else [text]
            for text, size in zip(texts, widths, strict=True)
        )
        for line in zip_longest(*cells, fillvalue=""):
            parts = zip(columns, line, widths, strict=True)
            yield _GAP.join(one.aligned(text, size) for one, text, size in parts).rstrip()


def _widths(columns: Sequence[Column], width: int) -> Iterator[int]:
    """Yield how wide each column is: what folds shares what is left, from the left on."""
    room = width - _whole([one.least for one in columns])
    for one in columns:
        more = max(0, min(room, one.width - one.least))
        room -= more
        yield one.least + more


@dataclass(frozen=True)
class Fitted:
    """A table on a page, which has the width of that."""

    columns: Sequence[Column]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in table(self.columns, options.max_width):
            yield Text(line, no_wrap=True, overflow="ignore")
