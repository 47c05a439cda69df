"""States: the text whose likeness says that two situations are alike."""

from agents.billp.states import WINDOW, state_lines, states
from agents.embeddings import hashed
from tests.support.cast import CHESS, GO, HISTORY, HOUSE, OPERA, PILOT, RACER, trajectory

STEPS = tuple((item, 3.0) for item in [CHESS, GO, RACER, PILOT, HOUSE, OPERA] * 3)
assert len(STEPS) > WINDOW


def test_a_state_is_the_recent_items_with_their_categories() -> None:
    assert state_lines(trajectory((GO, 4.0), (PILOT, 2.0))) == (
        "Go Master Puzzle Strategy",
        "Star Pilot Action Science Fiction",
    )


def test_the_first_state_is_everybodys() -> None:
    """Users differ in their histories, which bore nobody."""
    assert state_lines(trajectory()) == state_lines(trajectory(rated=())) == ("nothing yet",)


def test_only_the_last_items_count() -> None:
    """What lies further back bores nobody any more."""
    lines = state_lines(trajectory(*STEPS, rated=()))
    assert len(lines) == WINDOW
    assert lines == state_lines(trajectory(*STEPS[-WINDOW:], rated=()))


def test_rewards_and_thoughts_are_no_part_of_a_state() -> None:
    """A state is recalled before its rewards are known."""
    one = trajectory((GO, 1.0), thoughts=["this"])
    assert state_lines(one) == state_lines(trajectory((GO, 5.0), thoughts=["that"]))


def test_the_states_of_a_visit_are_those_it_went_through() -> None:
    """What is remembered at the end lies under the very text that was asked for on the way."""
    went_through = [state_lines(trajectory(*STEPS[:n])) for n in range(len(STEPS) + 1)]
    assert states(trajectory(*STEPS)) == went_through


def test_a_visit_without_steps_has_one_state() -> None:
    assert states(trajectory()) == [tuple(state_lines(trajectory()))]


def test_one_step_changes_the_vector() -> None:
    before, after = (state_lines(trajectory(*steps, rated=HISTORY)) for steps in ((), STEPS[:1]))
    assert hashed(before).tolist() != hashed(after).tolist()
