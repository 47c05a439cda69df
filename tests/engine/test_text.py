"""Text that came from outside: shown as it is, but for what would be obeyed."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text import counted, visible, visible_json

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
TURNS = [
    chr(code) for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x2070))
]
OTHERS = ["\u2028", "\u2029", "\ud800", "\udcff"]
OBEYED = [*CONTROLS, *TURNS, *OTHERS]

texts = st.text(st.one_of(st.characters(), st.sampled_from(OBEYED)))


@given(texts)
def test_nothing_that_is_obeyed_is_left(text: str) -> None:
    assert not set(visible(text)) & set(OBEYED)
    assert not set(visible(text, lines=True)) & set(OBEYED) - {"\n", "\t"}


@given(texts, st.booleans())
def test_what_is_visible_stays(text: str, lines: bool) -> None:
    once = visible(text, lines=lines)
    assert visible(once, lines=lines) == once


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])))
def test_what_can_be_read_is_not_touched(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    "text", ["Amélie 日本語 한국어 עברית", "👩‍👩‍👧‍👦 🇩🇪 ❤️", "a\\x1b[31m", "", "–…×γ"]
)
def test_all_scripts_and_emoji_are_not_touched(text: str) -> None:
    """Also those that are joined of several signs, and what looks like an escape already."""
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x00\x7f\u2028", "\\x00\\x7f\\u2028"),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_an_escape_says_which_character_was_there(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_are_kept_where_there_may_be_some() -> None:
    assert visible("a\n\tb\rc", lines=True) == "a\n\tb\\rc"


@given(texts, st.booleans())
def test_json_says_the_same_and_is_obeyed_by_nobody(text: str, ascii_only: bool) -> None:
    written = json.dumps({text: [text]}, ensure_ascii=False)
    shown = visible_json(written, ascii_only=ascii_only)
    assert json.loads(shown) == {text: [text]}
    assert not set(shown) & set(OBEYED)
    assert shown.isascii() or not ascii_only


def test_every_control_and_turn_is_known() -> None:
    """What Unicode calls a control, and what it says of the direction of reading."""
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for sign in map(chr, range(0x11_0000)):
        if unicodedata.category(sign) == "Cc" or unicodedata.bidirectional(sign) in turning:
            assert visible(sign) != sign


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [
        (0, "call", "0 calls"),
        (1, "call", "1 call"),
        (2, "model call", "2 model calls"),
        (12_000, "batch", "12,000 batches"),
        (1, "batch", "1 batch"),
    ],
)
def test_one_is_not_told_as_many(number: int, noun: str, told: str) -> None:
    assert counted(number, noun) == told
