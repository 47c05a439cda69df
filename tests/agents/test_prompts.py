"""The text of prompts: what goes into a section comes out of it, within the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.prompts import (
    history_lines,
    item_line,
    item_lines,
    section,
    sections,
    step_line,
    step_lines,
)
from tests.support.cast import CATALOG, CHESS, GO, HOUSE, PILOT, RACER, trajectory

STEPS = ((CHESS, 4.0), (RACER, 3.5), (HOUSE, 1.25))
THOUGHTS = ("the first", "the second", "the third")
text = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1).map(lambda t: f"- {t}")


def test_a_section_is_a_heading_and_its_lines() -> None:
    assert section("Thought", ["one", "two"]) == "## Thought\none\ntwo\n"


@pytest.mark.parametrize("nothing", [[], [""]])
def test_a_section_without_lines_is_left_out(nothing: list[str]) -> None:
    """An empty heading would only puzzle the model."""
    assert section("Thought", nothing) == ""


@given(st.dictionaries(st.sampled_from(["A", "B b", "C"]), st.lists(text, min_size=1)))
def test_sections_are_read_as_they_were_written(written: dict[str, list[str]]) -> None:
    """Whatever the titles: nothing within a line begins a section."""
    prompt = "".join(section(heading, lines) for heading, lines in written.items())
    assert sections(prompt) == written


def test_a_title_with_number_signs_stays_in_its_line() -> None:
    """It must not look like a heading and hide the items after it."""
    lines = ["- Mystery ## 5 | Puzzle", "- Go Master | Puzzle"]
    assert sections(section("Candidates", lines)) == {"Candidates": lines}


def test_text_before_the_first_heading_is_no_section() -> None:
    assert sections("hello\n## A\none\n") == {"A": ["one"]}
    assert sections("") == {}


def test_an_item_stands_in_one_line() -> None:
    """Title, categories, and the reward with two decimals if there is one."""
    assert item_line("Go", ("Puzzle", "Strategy")) == "- Go | Puzzle, Strategy"
    assert item_line("Go", ("Puzzle",), 4.0) == "- Go | Puzzle | 4.00"
    assert item_line("Go", (), 1.125) == "- Go |  | 1.12"


def test_items_are_listed_in_the_order_given() -> None:
    listed = list(item_lines(CATALOG, [PILOT, GO]))
    assert listed == ["- Star Pilot | Action, Science Fiction", "- Go Master | Puzzle, Strategy"]


def test_the_history_tells_ratings() -> None:
    assert history_lines(CATALOG, trajectory().history) == [
        "- Dragon Saga | Fiction | 4.00",
        "- Farm Life | Simulation | 1.50",
    ]


def test_a_step_is_its_item_and_its_reward() -> None:
    """What was thought stands apart, since it may be cut."""
    (step,) = trajectory((CHESS, 4.0)).steps()
    assert step_line(step) == "- Chess Duel | Puzzle, Strategy | 4.00"


def test_steps_stand_oldest_first_each_under_its_thought() -> None:
    lines = step_lines(trajectory(*STEPS, thoughts=THOUGHTS), 1_000)
    assert lines == [
        "Thought: the first",
        "- Chess Duel | Puzzle, Strategy | 4.00",
        "Thought: the second",
        "- Night Racer | Racing | 3.50",
        "Thought: the third",
        "- Haunted House | Horror | 1.25",
    ]


def test_the_oldest_thoughts_give_way() -> None:
    """Whatever the limit: thoughts of the latest steps, and none before one that was cut."""
    so_far = trajectory(*STEPS, thoughts=THOUGHTS)
    for characters in range(200):
        kept = [line for line in step_lines(so_far, characters) if line.startswith("Thought")]
        assert kept == [f"Thought: {thought}" for thought in THOUGHTS][3 - len(kept) :]


def test_a_short_old_thought_does_not_outlive_a_long_new_one() -> None:
    thoughts = ("short", "long " * 40, "new")
    lines = step_lines(trajectory(*STEPS, thoughts=thoughts), 200)
    assert [line for line in lines if line.startswith("Thought")] == ["Thought: new"]


def test_thoughts_leave_room_for_the_items() -> None:
    """A limit that holds the items holds all that is said, line ends included."""
    so_far = trajectory(*STEPS, thoughts=THOUGHTS)
    bare = len("\n".join(step_lines(so_far, 0))) + 1
    for characters in range(bare, 200):
        assert len("\n".join(step_lines(so_far, characters))) + 1 <= characters


def test_items_are_never_cut() -> None:
    """Without them nobody could tell what bores the user."""
    lines = step_lines(trajectory(*STEPS, thoughts=THOUGHTS), 0)
    assert [line.split(" | ")[0] for line in lines] == [
        "- Chess Duel",
        "- Night Racer",
        "- Haunted House",
    ]
