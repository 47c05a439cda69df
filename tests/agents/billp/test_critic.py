"""The critic: values of states on the way, advantages of steps at the end."""

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.billp.critic import PLAIN, TASK, Critic, read_value
from agents.billp.memories import HIGHEST, LOWEST, VALUATIONS, Valuation
from agents.billp.states import state_lines
from agents.billp.values import judged_steps
from agents.embeddings import hashed
from agents.models.model import Prompt
from agents.settings import CriticSettings
from engine.errors import UnreadableReplyError
from engine.messages import (
    AdvantageEstimated,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    MemoryWritten,
    Recalled,
    StateValued,
    UserResponded,
)
from tests.support.cast import (
    CATALOG,
    CHESS,
    HOUSE,
    RACER,
    Told,
    Visit,
    headings,
    known,
    lines,
    trajectory,
)

SYSTEM = f"{TASK}\n{PLAIN.words}"

CRITIC = Critic(CATALOG)
START = ("nothing yet",)
"""The text of state 0."""


def counting(prompt: Prompt) -> str:
    """Value state 0 with 1, state 1 with 2, and so on."""
    return str(prompt.step + 1)


def judged(visit: Visit, critic: Critic = CRITIC) -> Told:
    return visit.run(
        (EpisodeStarted, critic.judge_start),
        (UserResponded, critic.judge),
        (EpisodeSettled, critic.settle),
    )


def values(told: Told) -> list[tuple[int, float]]:
    return [(valued.state, valued.value) for valued in told.only(StateValued)]


# -- valuing


def test_every_state_is_valued_until_the_user_leaves() -> None:
    """Also the first; not the one after leaving, which is 0 by definition."""
    assert sorted(values(judged(Visit(script=counting)))) == [(0, 1.0), (1, 2.0), (2, 3.0)]


def test_the_last_state_of_a_cut_visit_is_valued() -> None:
    """The user is still there."""
    told = judged(Visit(script=counting, quits=False))
    assert sorted(values(told)) == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]


def test_the_prompt_has_its_parts_in_order() -> None:
    memories = known(VALUATIONS, (START, Valuation(value=-3.0)))
    told = judged(
        Visit(script=counting, memories=memories),
        replace(CRITIC, settings=CriticSettings(within=2.0)),
    )
    prompt = next(prompt for prompt in told.prompts if prompt.step == 2)
    assert (prompt.role, prompt.system) == ("critic", SYSTEM)
    assert headings(prompt) == [
        "History of the user",
        "Recent recommendations",
        "Values of like states",
        "Question",
    ]
    assert lines(prompt, "Recent recommendations") == [
        "- Chess Duel | Puzzle, Strategy | 4.00",
        "- Night Racer | Racing | 3.00",
    ]
    assert lines(prompt, "Question") == ["What is the value of state 2?"]


def test_the_last_items_are_shown_and_give_way_in_blocks() -> None:
    """The last 10 at least, 19 at most: so a prompt goes on as it began for ten steps."""
    counts = []
    for length in range(35):
        so_far = trajectory(*[(CHESS, 4.0)] * length)
        prompt = CRITIC.prompt(so_far, so_far.length, [])
        shown = lines(prompt, "Recent recommendations") if length else []
        assert shown == ["- Chess Duel | Puzzle, Strategy | 4.00"] * len(shown)
        counts.append(len(shown))
    assert counts == [*range(20), *range(10, 20), *range(10, 15)]


def test_the_value_of_a_like_state_helps() -> None:
    """k = 1, as in the paper; the message says which record it was."""
    far, near = Valuation(value=5.0), Valuation(value=-3.0)
    memories = known(VALUATIONS, (("Quantum Tennis",), far), (START, near), (START, far))
    told = judged(Visit(script=counting, memories=memories))
    said = lines(told.prompts[0], "Values of like states")
    assert said == ["- a like state was valued -3"]
    valued = next(valued for valued in told.only(StateValued) if valued.state == 0)
    assert valued.recalled == (Recalled(position=1, episode=0, distance=0.0),)


def test_unlike_states_say_nothing() -> None:
    memories = known(VALUATIONS, (("Quantum Tennis",), Valuation(value=5.0)))
    told = judged(Visit(script=counting, memories=memories))
    assert headings(told.prompts[0]) == ["History of the user", "Question"]


def test_an_unreadable_value_is_asked_again() -> None:
    replies = iter(["splendid", "4"])
    told = judged(Visit(script=lambda prompt: next(replies), rewards=[1.0]))
    assert values(told) == [(0, 4.0)]
    assert [call.occurrence for call, _ in told.asked] == [0, 1]


def test_a_value_that_cannot_be_read_is_none() -> None:
    """Not 0, as if the critic had said so; the visit goes on."""
    told = judged(Visit(script=lambda prompt: "splendid" if prompt.step == 1 else "2"))
    assert sorted(values(told)) == [(0, 2.0), (2, 2.0)]
    assert told.only(EpisodeEnded)[0].length == 3


def test_a_failed_call_fails_the_episode() -> None:
    """Nothing of it is remembered."""
    told = judged(Visit(script=lambda prompt: None if prompt.step == 1 else "2"))
    assert told.only(EpisodeFailed) == [EpisodeFailed(why="Critic.judge raised CallFailedError")]
    assert (told.only(AdvantageEstimated), told.kept(VALUATIONS)) == ([], [])


# -- settling


def test_steps_are_judged_when_all_is_settled() -> None:
    """With rewards 4, 3 and 1.5, values 1, 2 and 3, and 0 after leaving."""
    assert judged(Visit(script=counting)).only(AdvantageEstimated) == [
        AdvantageEstimated(step=0, value=1.0, next_value=2.0, advantage=4.0),  # 4 + 1 − 1
        AdvantageEstimated(step=1, value=2.0, next_value=3.0, advantage=2.5),  # 3 + 1.5 − 2
        AdvantageEstimated(step=2, value=3.0, next_value=0.0, advantage=-1.5),  # 1.5 + 0 − 3
    ]


@pytest.mark.parametrize(
    ("critic", "advantages"),
    [
        (replace(CRITIC, judge_steps=partial(judged_steps, discount=0.0)), [3.0, 1.0, -1.5]),
        (replace(CRITIC, judge_steps=partial(judged_steps, with_reward=False)), [1.0, 1.0, -3.0]),
    ],
)
def test_advantages_follow_the_settings(critic: Critic, advantages: list[float]) -> None:
    told = judged(Visit(script=counting), critic)
    assert [estimated.advantage for estimated in told.only(AdvantageEstimated)] == advantages


def test_steps_beside_an_unreadable_value_are_not_judged() -> None:
    told = judged(Visit(script=lambda prompt: "?" if prompt.step == 1 else "2"))
    assert [estimated.step for estimated in told.only(AdvantageEstimated)] == [2]


def test_values_are_kept_under_their_states() -> None:
    """State by state, and only those that could be read."""
    told = judged(Visit(script=lambda prompt: "?" if prompt.step == 1 else str(prompt.step)))
    steps = [(CHESS, 4.0), (RACER, 3.0), (HOUSE, 1.5)]
    kept = [(record.payload.value, record.key.tolist()) for record in told.kept(VALUATIONS)]
    assert kept == [
        (float(state), hashed(state_lines(trajectory(*steps[:state]))).tolist()) for state in (0, 2)
    ]
    assert told.only(MemoryWritten) == [MemoryWritten(memory="critic", count=2)]


def test_the_next_user_profits() -> None:
    """Of the same past, in the same state: at no distance."""
    told = judged(Visit(script=counting, users=[0, 1], rewards=[1.0]))
    first, second = told.only(StateValued)
    assert (first.recalled, len(second.recalled)) == ((), 1)
    assert lines(told.prompts[1], "Values of like states") == ["- a like state was valued 1"]


# -- reading


def test_the_system_prompt_names_the_scale() -> None:
    """Both ends of it; and no example, which small models copy."""
    assert f"one whole number from {LOWEST} (about to leave) to {HIGHEST} (long" in SYSTEM


@given(st.integers(LOWEST, HIGHEST))
def test_every_value_of_the_scale_is_read(value: int) -> None:
    """With a hyphen or a true minus sign, alone or in a sentence."""
    for text in (f"{value}", f"{value}\n", f"{value}".replace("-", "−"), f"I'd say {value}, or 9."):
        assert read_value(text) == value


@pytest.mark.parametrize(("text", "value"), [("2.7", 3.0), ("-0.4", 0.0), ("+3", 3.0)])
def test_values_are_whole(text: str, value: float) -> None:
    """And there is no minus zero in a trace."""
    assert str(read_value(text)) == str(value)


@pytest.mark.parametrize("text", ["", "splendid", "6", "-5.5", "9" * 400])
def test_what_is_off_the_scale_is_no_value(text: str) -> None:
    with pytest.raises(UnreadableReplyError, match=r"expected a number from -5 to 5, got"):
        read_value(text)
