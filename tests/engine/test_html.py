"""Tables for notebooks: what comes from outside is shown, and not obeyed."""

from html.parser import HTMLParser

import pytest

from engine.html import note, table

EVIL = "<script>alert(1)</script>\"'& \x1b[31m \u202e"


class Page(HTMLParser):
    """Notes tags and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("html", [note(EVIL), table((EVIL,), [(EVIL,)], title=EVIL)])
def test_what_comes_from_outside_is_text(html: str) -> None:
    """In cells, heads, titles and notes; and what a terminal or a line would obey is escaped."""
    page = Page(html)
    assert set(page.tags) <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "div"}
    assert "<script>alert(1)</script>\"'& \\x1b[31m \\u202e" in page.text


def test_numbers_stand_to_the_right_of_words() -> None:
    """A column of words is said to be one."""
    html = table(("name", "count", "why"), [("a", "1", "b")], words={0, 2})
    sides = [cell.partition("text-align:")[2].partition('"')[0] for cell in html.split("<td ")[1:]]
    assert sides == ["left", "right", "left"]
