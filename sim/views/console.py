"""Where commands write: what a run says is text, no markup or emoji, and nothing obeys it.

All that leaves goes through here: tables and sentences through `plain`, text that is written as it
stands through `write`, and JSON through `write_json`.
"""

import sys
from collections.abc import Iterable
from textwrap import wrap
from typing import Any

import msgspec
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from engine.text import visible, visible_json


class Visible(Console):
    """A console on which a terminal obeys styles, and nothing that a text holds."""

    def render_str(self, text: str, **how: Any) -> Text:
        """Return *text* as it can be shown: before it is measured, so that tables hold it."""
        return super().render_str(visible(text, lines=True), **how)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of *renderable*, whatever made them, as they can be shown."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible(segment.text, lines=True), segment.style)


def plain(*, stderr: bool = False, folding: bool = True) -> Console:
    """Return a console that writes text as it stands; not *folding*, it breaks no line."""
    return Visible(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=not folding)


def folded(text: str, width: int) -> list[str]:
    """Return the lines of *text* in a *width*; a word stays whole, be it longer."""
    lines = (
        wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
        for line in text.split("\n")
    )
    return [line for part in lines for line in part]


def write(text: str) -> None:
    """Write *text*, which may have lines, to standard output."""
    sys.stdout.write(visible(text, lines=True))


def write_json(value: object) -> None:
    """Write *value* to standard output as one JSON object in a line."""
    write_json_line(msgspec.json.encode(value))


def write_json_line(line: bytes) -> None:
    """Write a line of JSON to standard output; what is obeyed or not encoded there is escaped."""
    sys.stdout.write(visible_json(line.decode(), ascii_only=not holds_all(sys.stdout)) + "\n")


def holds_all(stream: Any) -> bool:
    """Tell whether *stream* can hold any character."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")
