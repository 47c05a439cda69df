"""Tables by hand: whole words in the width there is, and nothing said twice."""

from sim.views.columns import Column, table

TITLES = Column(
    "item", ["The Lost Oath of Marrowdale: Remastered", "Short"], words=True, folds=True
)
STEPS = Column("step", ["0", "1"])
WORTH = Column("value", ["1.25", "2.5"], worth=1)


def test_a_long_cell_goes_on_in_the_next_line() -> None:
    """Its words stay whole, and its column as wide as the room allows."""
    assert [*table([STEPS, TITLES], 34)] == [
        "step  item",
        "   0  The Lost Oath of Marrowdale:",
        "      Remastered",
        "   1  Short",
    ]


def test_what_has_no_room_is_named() -> None:
    """What is worth least goes first, and nothing goes where all have room."""
    narrow = [*table([STEPS, TITLES, WORTH], 34)]
    assert narrow[-2:] == ["Left out, as the screen is narrow:", "value."]
    assert not any("1.25" in line for line in narrow)
    assert any("1.25" in line for line in table([STEPS, TITLES, WORTH], 80))


def test_what_is_the_same_everywhere_is_said_once() -> None:
    """Of a single row nothing is the same as elsewhere."""
    same = Column("grounding", ["exact", "exact"], words=True, told_once=True)
    lines = [*table([STEPS, same], 80)]
    assert lines == ["All: grounding exact.", "", "step", "   0", "   1"]
    one = Column("grounding", ["exact"], words=True, told_once=True)
    assert [*table([Column("step", ["0"]), one], 80)] == ["step  grounding", "   0  exact"]


def test_what_a_terminal_would_obey_is_measured_as_it_is_shown() -> None:
    """Else what stands beside it would be out of line."""
    title = Column("item", ["\x1b[2J", "plain"], words=True)
    _, first, second = table([title, Column("reward", ["1.00", "2.00"])], 80)
    assert first.index("1.00") == second.index("2.00")
