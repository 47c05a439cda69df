"""The trajectory: the chain of causes, folded."""

from functools import reduce

import pytest

from agents.trajectory import Trajectory, folding
from engine.messages import (
    AdvantageEstimated,
    Message,
    ModelReplied,
    PlanMade,
    PlanRequested,
    StateValued,
    UserResponded,
)
from tests.support.cast import (
    CATALOG,
    CHESS,
    GO,
    HISTORY,
    RACER,
    history,
    started,
    taken,
    trajectory,
)

FOLD = folding(CATALOG)
ROUNDS = 50


def folded(*messages: Message) -> Trajectory:
    above: Trajectory = FOLD(None, started())
    return reduce(FOLD, messages, above)


def test_an_episode_begins_with_its_history() -> None:
    """Who came and what was rated; nothing has happened yet."""
    opened = folded()
    assert (opened.user, opened.session, opened.history) == (0, 0, history(HISTORY))
    assert (opened.length, list(opened.steps()), opened.recent(10)) == (0, [], [])


def test_nothing_comes_before_the_start() -> None:
    with pytest.raises(TypeError, match=r"must begin with EpisodeStarted, got PlanRequested"):
        FOLD(None, PlanRequested(step=0))


def test_a_step_is_what_was_thought_recommended_and_answered() -> None:
    """With the item's categories, so that nobody has to look them up again."""
    (step,) = trajectory((CHESS, 4.5), thoughts=["try puzzles"]).steps()
    assert (step.number, step.thought, step.item) == (0, "try puzzles", CHESS)
    assert (step.title, step.categories) == ("Chess Duel", ("Puzzle", "Strategy"))
    assert (step.reward, step.left, step.previous) == (4.5, False, None)


def test_the_last_step_says_whether_the_user_left() -> None:
    left = UserResponded(step=0, reward=1.0, left=True, reason="reward")
    (step,) = folded(PlanRequested(step=0), taken(0, CHESS), left).steps()
    assert step.left


def test_an_open_step_shows_what_was_made_of_it_so_far() -> None:
    action = taken(0, GO)
    so_far = folded(PlanRequested(step=0), PlanMade(step=0, thought="t"), action)
    assert (so_far.step, so_far.thought, so_far.action, so_far.length) == (0, "t", action, 0)


def test_a_new_step_begins_without_thought_and_action() -> None:
    """The old ones belong to the step that is finished."""
    so_far = trajectory((GO, 4.0), thoughts=["old"])
    assert (so_far.step, so_far.thought, so_far.action) == (1, "", None)


def test_steps_are_told_newest_first_and_recent_ones_oldest_first() -> None:
    so_far = trajectory((CHESS, 4.0), (RACER, 3.0), (GO, 2.0))
    assert [step.item for step in so_far.steps()] == [GO, RACER, CHESS]
    assert [step.item for step in so_far.recent(2)] == [RACER, GO]
    assert [step.item for step in so_far.recent(10)] == [CHESS, RACER, GO]
    assert so_far.recent(0) == []


def test_length_counts_finished_steps() -> None:
    so_far = trajectory(*[(CHESS, 4.0)] * ROUNDS)
    assert so_far.length == so_far.step == len(list(so_far.steps())) == ROUNDS


def test_a_longer_trajectory_leaves_the_shorter_one_alone() -> None:
    """Handlers of older messages still hold it; both share what is common."""
    short = folded(PlanRequested(step=0), taken(0, CHESS))
    longer = FOLD(short, UserResponded(step=0, reward=3.0, left=False))
    longest = FOLD(longer, PlanRequested(step=1))
    assert (short.length, longer.length) == (0, 1)
    assert longest.last is longer.last


@pytest.mark.parametrize(
    "message",
    [
        StateValued(state=0, value=1.0),
        AdvantageEstimated(step=0, value=1.0, next_value=1.0, advantage=1.0),
        ModelReplied(
            step=0,
            role="critic",
            occurrence=0,
            request="",
            text="1",
            prompt_tokens=0,
            completion_tokens=0,
        ),
    ],
)
def test_what_happens_beside_the_main_line_changes_nothing(message: Message) -> None:
    so_far = trajectory((CHESS, 4.0))
    assert FOLD(so_far, message) is so_far


def test_nobody_responds_to_nothing() -> None:
    with pytest.raises(TypeError, match="responded to nothing at step 0"):
        folded(PlanRequested(step=0), UserResponded(step=0, reward=1.0, left=False))


def test_rewards_are_as_in_messages() -> None:
    """Six significant digits, so that a sum of them is the same everywhere."""
    (step,) = trajectory((CHESS, 3.14159265)).steps()
    assert step.reward == 3.14159
