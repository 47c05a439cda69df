"""Values and advantages, computed by hand."""

import pytest

from agents.billp.values import Judged, advantage, judged_steps
from engine.messages import Message, StateValued, UserResponded


def responded(*rewards: float, leaves: bool) -> list[Message]:
    """Return the responses of a visit; the user leaves at the last one, or does not."""
    last = len(rewards) - 1
    return [
        UserResponded(step=step, reward=reward, left=leaves and step == last)
        for step, reward in enumerate(rewards)
    ]


def valued(*values: float | None) -> list[Message]:
    """Return the values of the states 0, 1, 2 ...; None is one that could not be read."""
    return [
        StateValued(state=state, value=value)
        for state, value in enumerate(values)
        if value is not None
    ]


def advantages(
    episode: list[Message], *, discount: float = 0.5, with_reward: bool = True
) -> list[tuple[int, float]]:
    steps = judged_steps(episode, discount=discount, with_reward=with_reward)
    return [(step.step, step.advantage) for step in steps]


@pytest.mark.parametrize(
    ("reward", "value", "after", "discount", "worth"),
    [
        (4.0, 2.0, 3.0, 0.5, 3.5),  # 4 + 0.5·3 − 2
        (1.5, 5.0, -5.0, 0.5, -6.0),  # 1.5 − 2.5 − 5
        (3.0, 1.0, 4.0, 0.0, 2.0),  # short-sighted: 3 − 1
        (3.0, 1.0, 4.0, 1.0, 6.0),  # 3 + 4 − 1
    ],
)
def test_an_advantage_is_reward_and_discounted_next_value_less_value(
    reward: float, value: float, after: float, discount: float, worth: float
) -> None:
    assert advantage(reward, value, after, discount=discount) == worth


def test_the_authors_runs_left_the_reward_out() -> None:
    """Then the discount is left out as well: V(s′) − V(s)."""
    assert advantage(4.0, 2.0, 3.0, discount=0.5, with_reward=False) == 1.0


def test_every_step_lies_between_two_states() -> None:
    """Step n leads from state n to state n + 1."""
    episode = [*valued(1.0, 3.0, -2.0), *responded(4.0, 3.0, leaves=False)]
    assert judged_steps(episode, discount=0.5) == [
        Judged(step=0, value=1.0, next_value=3.0, advantage=4.5),  # 4 + 1.5 − 1
        Judged(step=1, value=3.0, next_value=-2.0, advantage=-1.0),  # 3 − 1 − 3
    ]


def test_nothing_is_to_come_after_the_user_has_left() -> None:
    """The value is 0 by definition, whatever the critic might have said."""
    episode = [*valued(1.0, 2.0), *responded(4.0, 1.5, leaves=True)]
    assert advantages(episode) == [(0, 4.0), (1, -0.5)]  # 4 + 1 − 1; 1.5 + 0 − 2
    assert advantages([*episode, StateValued(state=2, value=5.0)]) == [(0, 4.0), (1, -0.5)]


def test_a_cut_visit_has_a_last_state() -> None:
    """The user had not left: more was to come, so the value is the critic's."""
    episode = [*valued(1.0, 4.0), *responded(3.0, leaves=False)]
    assert advantages(episode) == [(0, 4.0)]  # 3 + 2 − 1


def test_without_reward_leaving_is_a_loss() -> None:
    episode = [*valued(1.0, 2.0), *responded(4.0, 1.5, leaves=True)]
    assert advantages(episode, with_reward=False) == [(0, 1.0), (1, -2.0)]


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ((None, 1.0, 1.0, 1.0), [1, 2, 3]),
        ((1.0, None, 1.0, 1.0), [2, 3]),
        ((1.0, 1.0, 1.0, None), [0, 1]),
        ((None, 1.0, None, 1.0), [3]),
        ((None, None, None, None), []),
    ],
)
def test_an_unreadable_value_leaves_the_steps_on_both_sides_out(
    values: tuple[float | None, ...], steps: list[int]
) -> None:
    """It is not taken for 0, as if the critic had said so."""
    episode = [*valued(*values), *responded(4.0, 4.0, 4.0, 1.0, leaves=True)]
    assert [step for step, _ in advantages(episode)] == steps


def test_the_order_of_values_does_not_matter() -> None:
    """The critic works beside the main line: its values may stand anywhere in the episode."""
    values, responses = valued(1.0, 2.0, 3.0), responded(4.0, 3.0, leaves=False)
    late = [*responses, *reversed(values)]
    assert advantages(late) == advantages([*values, *responses])


def test_no_steps_no_advantages() -> None:
    assert advantages(valued(2.0)) == []


def test_advantages_are_numbers_of_messages() -> None:
    """Six significant digits: 3.14159 − 1."""
    episode = [*valued(1.0, 0.0), *responded(3.141592653, leaves=False)]
    assert advantages(episode) == [(0, 2.14159)]
