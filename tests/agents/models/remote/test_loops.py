"""Replies that repeat themselves: what is said once is kept, and so is that it was cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.models.remote.loops import unlooped
from agents.models.remote.wire import decode_reply
from tests.support.drawn import CHARACTERS


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("It costs 1,000, 1,000, 1,000, 1,000, 1,000, 1,000, 1,0", "It costs 1,000,"),
        ("Vary. Vary. Vary. Vary. Vary. Vary. ", "Vary. "),
        ("a" * 400, "a"),
        ("So it goes on and on and on.", None),
        ("Wait ....", None),
        ("yes yes yes", None),
        ("", None),
    ],
)
def test_what_is_repeated_is_kept_once(text: str, kept: str | None) -> None:
    assert unlooped(text) == kept


@given(
    st.text(CHARACTERS, max_size=30),
    st.text(CHARACTERS, min_size=1, max_size=40),
    st.integers(24, 60),
)
def test_no_repetition_is_overlooked(before: str, unit: str, times: int) -> None:
    """Whatever comes before it; what is kept is how the text begins, and ends before it repeats."""
    text = before + unit * times
    kept = unlooped(text)
    assert kept is not None
    assert text.startswith(kept)
    assert len(kept) <= len(before) + len(unit)


def reply(finish: str) -> tuple[str, str]:
    choice = {"message": {"content": "on and " * 20}, "finish_reason": finish}
    said = decode_reply(json.dumps({"choices": [choice]}).encode(), {})
    return said.text, said.finish


def test_a_reply_that_was_cut_off_while_it_repeated_itself_says_so() -> None:
    assert reply("length") == ("on and ", "repetition")


def test_who_came_to_his_end_may_repeat_himself() -> None:
    assert reply("stop") == ("on and " * 20, "stop")
