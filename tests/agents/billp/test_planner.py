"""The planner: a thought before each step, guided by reflections."""

import pytest

from agents.billp.memories import REFLECTIONS, Reflection
from agents.billp.planner import TASK, WORDS, Planner, read_thought
from agents.models.model import Prompt
from agents.prompts import TOKEN
from agents.trajectory import Delivery, task_lines
from engine.errors import UnreadableReplyError
from engine.messages import (
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    MemoryWritten,
    PlanMade,
    PlanRequested,
    Recalled,
    ReflectionWritten,
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

SYSTEM = f"{TASK}\n\n{WORDS}"

PLANNER = Planner(CATALOG)
LIKE_US = ("Dragon Saga", "Farm Life")
UNLIKE_US = ("Quantum Tennis", "Zoo Bakery 3000")
VARY, STAY = Reflection(text="Vary the categories."), Reflection(text="Stay with puzzles.")


def thinking(prompt: Prompt) -> str:
    return f"Take from Puzzle at {prompt.step}."


def planned(visit: Visit, planner: Planner = PLANNER) -> Told:
    return visit.run((PlanRequested, planner.plan))


def test_each_step_gets_a_thought() -> None:
    """One question and one answer for each, until the user leaves."""
    told = planned(Visit(script=thinking))
    assert [(plan.step, plan.thought) for plan in told.only(PlanMade)] == [
        (0, "Take from Puzzle at 0."),
        (1, "Take from Puzzle at 1."),
        (2, "Take from Puzzle at 2."),
    ]
    assert [prompt.role for prompt in told.prompts] == ["planner"] * 3


def test_the_prompt_has_its_parts_in_order() -> None:
    """As in the paper: task and grammar (system), reflections, history, steps so far, question."""
    memories = known(REFLECTIONS, (LIKE_US, VARY))
    told = planned(Visit(script=thinking, memories=memories))
    prompt = told.prompts[1]
    assert prompt.system == SYSTEM
    assert headings(prompt) == [
        "History of the user",
        "Reflections from earlier visits",
        "Steps so far",
        "Question",
    ]
    assert lines(prompt, "Question") == ["Write the thought for step 1."]


def test_the_prompt_tells_steps_with_thoughts_and_rewards() -> None:
    prompt = planned(Visit(script=thinking)).prompts[2]
    assert lines(prompt, "Steps so far") == [
        "Thought: Take from Puzzle at 0.",
        "- Chess Duel | Puzzle, Strategy | 4.00",
        "Thought: Take from Puzzle at 1.",
        "- Night Racer | Racing | 3.00",
    ]


def test_nobody_is_told_what_is_not_there() -> None:
    """A user without a past, a memory without records: the first prompt is the question."""
    prompt = planned(Visit(script=thinking, rated=())).prompts[0]
    assert headings(prompt) == ["Question"]


def test_the_most_similar_reflections_are_recalled() -> None:
    """By the likeness of the users' histories; the message says which they were."""
    records = [(UNLIKE_US, STAY), (LIKE_US, VARY)]
    planner = Planner(CATALOG, recall_count=1)
    told = planned(Visit(script=thinking, memories=known(REFLECTIONS, *records)), planner)
    assert lines(told.prompts[0], "Reflections from earlier visits") == ["- Vary the categories."]
    assert told.only(PlanMade)[0].reflections == (Recalled(position=1, episode=0, distance=0.0),)


def test_two_reflections_are_recalled_nearest_first() -> None:
    """K = 2, as in the paper."""
    other = Reflection(text="Another one.")
    records = [(UNLIKE_US, STAY), (LIKE_US, VARY), ((*UNLIKE_US, "Mars"), other)]
    told = planned(Visit(script=thinking, memories=known(REFLECTIONS, *records)))
    recalled = told.only(PlanMade)[0].reflections
    assert len(recalled) == len(lines(told.prompts[0], "Reflections from earlier visits")) == 2
    assert recalled[0].position == 1
    assert recalled[0].distance < recalled[1].distance


def test_reflections_beyond_a_distance_are_left_alone() -> None:
    memories = known(REFLECTIONS, (UNLIKE_US, STAY))
    told = planned(Visit(script=thinking, memories=memories), Planner(CATALOG, within=0.2))
    assert told.only(PlanMade)[0].reflections == ()
    assert "Reflections from earlier visits" not in headings(told.prompts[0])


def test_the_oldest_thoughts_are_cut_first() -> None:
    """Against the limit of the prompt, its other parts counted in; the items all stay."""
    steps = [(CHESS, 4.0), (RACER, 3.0), (HOUSE, 2.0)]
    so_far = trajectory(*steps, thoughts=["old " * 20, "older " * 2, "newest"])
    whole = PLANNER.prompt(so_far, [])
    tokens = (len(SYSTEM) + len(whole.text)) // TOKEN - 30
    cut = Planner(CATALOG, prompt_tokens=tokens).prompt(so_far, [])
    assert lines(cut, "Steps so far") == lines(whole, "Steps so far")[1:]


def test_an_empty_reply_is_asked_again() -> None:
    replies = iter(["", "Take from Racing."])
    told = planned(Visit(script=lambda prompt: next(replies), rewards=[1.0]))
    assert [plan.thought for plan in told.only(PlanMade)] == ["Take from Racing."]
    assert [call.occurrence for call, _ in told.asked] == [0, 1]


def test_without_a_thought_the_visit_goes_on() -> None:
    """An empty thought is no reason to lose the user."""
    told = planned(Visit(script=lambda prompt: " \n"))
    assert [plan.thought for plan in told.only(PlanMade)] == ["", "", ""]
    assert told.only(EpisodeEnded)[0].length == 3


def test_a_failed_call_fails_the_episode() -> None:
    """Instead of a visit without guidance that looks like any other."""
    told = planned(Visit(script=lambda prompt: None))
    assert told.only(EpisodeFailed) == [EpisodeFailed(why="Planner.plan raised CallFailedError")]
    assert told.only(PlanMade) == []


# -- remembering


async def reflect(delivery: Delivery[EpisodeEnded]) -> None:
    delivery.publish(ReflectionWritten(text=f"{delivery.message.length} steps."))


def test_a_reflection_is_kept_under_the_history() -> None:
    """And found again by the next user of the same past, at no distance."""
    visit = Visit(script=thinking, users=[0, 1])
    told = visit.run(
        (PlanRequested, PLANNER.plan), (EpisodeEnded, reflect), (EpisodeSettled, PLANNER.remember)
    )
    assert [record.payload.text for record in told.kept(REFLECTIONS)] == ["3 steps.", "3 steps."]
    assert [plan.reflections for plan in told.only(PlanMade)] == [
        *[()] * 3,
        *[(Recalled(position=0, episode=0, distance=0.0),)] * 3,
    ]
    assert lines(told.prompts[3], "Reflections from earlier visits") == ["- 3 steps."]


def test_an_episode_without_a_reflection_leaves_none() -> None:
    told = Visit().run((EpisodeSettled, PLANNER.remember))
    assert told.only(MemoryWritten) == []
    assert told.kept(REFLECTIONS) == []


def test_the_task_is_what_the_user_had_before() -> None:
    """The steps of this visit are not in it: all its thoughts recall the same reflections."""
    assert task_lines(trajectory((CHESS, 4.0))) == LIKE_US


# -- reading


def test_the_example_of_the_system_prompt_is_a_thought() -> None:
    """What is asked for is what is read, whole."""
    example = SYSTEM.split("Example of a thought:\n")[1].split("\n\n", maxsplit=1)[0]
    assert read_thought(example) == example
    assert SYSTEM.endswith("Answer with the thought alone.")


@pytest.mark.parametrize(
    ("reply", "thought"),
    [
        ("Vary.", "Vary."),
        ("  Vary;\navoid Horror.\n", "Vary; avoid Horror."),
        ("Thought: Vary.", "Vary."),
        ("Thought:\n\nVary.", "Vary."),
        ("Vary.\n\nAction: recommend[Chess Duel]", "Vary."),
    ],
)
def test_a_thought_is_the_first_paragraph_in_one_line(reply: str, thought: str) -> None:
    assert read_thought(reply) == thought


@pytest.mark.parametrize("reply", ["", "  \n\n ", "Thought: "])
def test_an_empty_thought_is_none(reply: str) -> None:
    with pytest.raises(UnreadableReplyError, match="expected a thought, got an empty reply"):
        read_thought(reply)
