"""The reflector: the lesson of a finished episode."""

from dataclasses import replace

import pytest

from agents.billp.reflector import TASK, WORDS, Reflector, read_reflection
from agents.models.model import Prompt
from agents.prompts import TOKEN
from engine.errors import UnreadableReplyError
from engine.messages import EpisodeEnded, EpisodeFailed, EpisodeSettled, ReflectionWritten
from tests.support.cast import (
    CATALOG,
    CHESS,
    HOUSE,
    RACER,
    Told,
    Visit,
    headings,
    lines,
    trajectory,
)

SYSTEM = f"{TASK}\n\n{WORDS}"

REFLECTOR = Reflector(CATALOG)
ENDED = EpisodeEnded(length=3, reward=8.5, reason="quit")


def reflected(visit: Visit) -> Told:
    return visit.run((EpisodeEnded, REFLECTOR.reflect))


def asked(visit: Visit) -> Prompt:
    (prompt,) = reflected(replace(visit, script=lambda prompt: "Vary.")).prompts
    return prompt


def test_an_episode_has_one_lesson() -> None:
    told = reflected(Visit(script=lambda prompt: "The user left.\n  Vary the categories."))
    assert told.only(ReflectionWritten) == [
        ReflectionWritten(text="The user left. Vary the categories.")
    ]
    assert [(prompt.role, prompt.step) for prompt in told.prompts] == [("reflector", 3)]


def test_the_prompt_has_its_parts_in_order() -> None:
    prompt = asked(Visit())
    assert prompt.system == SYSTEM
    assert headings(prompt) == [
        "History of the user",
        "Steps of the visit",
        "End of the visit",
        "Question",
    ]
    assert lines(prompt, "Question") == ["Write the reflection."]


def test_the_whole_visit_is_shown() -> None:
    """Thoughts, items and rewards, the last step included: there lies the reason."""
    assert lines(asked(Visit(thought="Go on.")), "Steps of the visit") == [
        "Thought: Go on.",
        "- Chess Duel | Puzzle, Strategy | 4.00",
        "Thought: Go on.",
        "- Night Racer | Racing | 3.00",
        "Thought: Go on.",
        "- Haunted House | Horror | 1.50",
    ]


@pytest.mark.parametrize(
    ("quits", "how"), [(True, "the user left"), (False, "the user was still there")]
)
def test_the_prompt_says_how_the_visit_ended(quits: bool, how: str) -> None:
    """In words: there is no reward of −1000."""
    assert lines(asked(Visit(quits=quits)), "End of the visit") == [f"After 3 steps {how}."]


def test_the_oldest_thoughts_are_cut_first() -> None:
    """Against the limit of the prompt; the items all stay."""
    thoughts = ["old " * 20, "older " * 2, "newest"]
    visit = trajectory((CHESS, 4.0), (RACER, 3.0), (HOUSE, 1.5), thoughts=thoughts)
    whole = REFLECTOR.prompt(visit, ENDED)
    tokens = (len(SYSTEM) + len(whole.text)) // TOKEN - 40
    cut = Reflector(CATALOG, prompt_tokens=tokens).prompt(visit, ENDED)
    heading = "Steps of the visit"
    assert lines(cut, heading) == lines(whole, heading)[1:]


def test_an_empty_lesson_is_asked_for_again() -> None:
    replies = iter(["", "Vary."])
    told = reflected(Visit(script=lambda prompt: next(replies)))
    assert told.only(ReflectionWritten) == [ReflectionWritten(text="Vary.")]


def test_an_unreadable_lesson_is_none() -> None:
    """The episode is settled all the same: what else it taught is kept."""
    told = reflected(Visit(script=lambda prompt: " "))
    assert told.only(ReflectionWritten) == []
    assert told.only(EpisodeSettled) == [EpisodeSettled()]


def test_a_failed_call_fails_the_episode() -> None:
    told = reflected(Visit(script=lambda prompt: None))
    why = "Reflector.reflect raised CallFailedError"
    assert told.only(EpisodeFailed) == [EpisodeFailed(why=why)]


def test_the_example_of_the_system_prompt_is_a_reflection() -> None:
    """What is asked for is what is read, whole."""
    example = SYSTEM.split("Example of a reflection:\n")[1].split("\n\n", maxsplit=1)[0]
    assert read_reflection(example) == example
    assert SYSTEM.endswith("Answer with the reflection alone.")


@pytest.mark.parametrize("reply", ["", " \n\t"])
def test_an_empty_reflection_is_none(reply: str) -> None:
    with pytest.raises(UnreadableReplyError, match="expected a reflection, got an empty reply"):
        read_reflection(reply)
