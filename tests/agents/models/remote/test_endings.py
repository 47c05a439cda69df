"""What a model says: without its thoughts, and why it ended."""

import pytest
from hypothesis import given

from agents.models.remote.endings import finish_of, spoken
from tests.support.drawn import TEXTS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Portal", "Portal"),
        ("<think>puzzles</think>Portal", "Portal"),
        (" \n<think>\npuzzles\n</think>\n\nPortal\n", "Portal\n"),
        ("puzzles\n</think>\nPortal", "Portal"),
        ("<think></think>", ""),
        ("<think>puzzles, and", ""),
        ("Portal <think> is about </think> thinking", "Portal <think> is about </think> thinking"),
        ("Portal <think>", "Portal <think>"),
    ],
)
def test_thoughts_at_the_beginning_are_no_reply(text: str, said: str) -> None:
    assert spoken(text) == said


@given(TEXTS)
def test_what_has_no_thoughts_is_said_as_it_is(text: str) -> None:
    plain = text.replace("think>", "")
    assert spoken(plain) == plain
    assert spoken(f"<think>{plain}</think>{plain}") == plain.lstrip()


@pytest.mark.parametrize(
    ("reason", "refused", "finish"),
    [
        (None, False, "stop"),
        ("stop", True, "refusal"),
        (None, True, "refusal"),
        ("length", True, "length"),
        ("x" * 99, False, "stop"),
        ("a\nb", False, "stop"),
    ],
)
def test_why_a_reply_ended(reason: str | None, refused: bool, finish: str) -> None:
    """A refusal that was cut off is cut off; what is no reason is none."""
    assert finish_of(reason, refused=refused) == finish
