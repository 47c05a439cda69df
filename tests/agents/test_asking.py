"""Asking: what cannot be read is asked again, and then given up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from agents.asking import ATTEMPTS, ask, whole_sentences
from agents.models.model import Prompt, Sampling, request_for
from agents.trajectory import Delivery
from engine.errors import UnreadableReplyError
from engine.messages import EpisodeFailed, HandlerFailed, ModelFailed, ModelReplied, PlanRequested
from tests.support.cast import Told, Visit, planned

QUESTION = Prompt(role="planner", step=0, system="You count.", text="How many?")


def read(text: str) -> int:
    """Read a number in digits."""
    if not text.isdecimal():
        raise UnreadableReplyError(f"expected a number, got {text!r}")
    return int(text)


@dataclass
class Replies:
    """A model that gives one reply after the other; None is a call that fails."""

    texts: Sequence[str | None]
    asked: int = 0

    def __call__(self, prompt: Prompt) -> str | None:
        self.asked += 1
        return self.texts[self.asked - 1]


@dataclass
class Asker:
    """A planner that keeps what came of its question."""

    read: Callable[[str], int] = read
    came: list[tuple[int | None, str]] = field(default_factory=list)

    async def plan(self, delivery: Delivery[PlanRequested]) -> None:
        self.came.append(await ask(delivery, QUESTION, self.read))
        delivery.publish(planned(0)[-1])


def asked(
    *texts: str | None, asker: Asker | None = None
) -> tuple[list[tuple[int | None, str]], Told]:
    asker = asker or Asker()
    told = Visit(script=Replies(texts), rewards=[1.0]).run((PlanRequested, asker.plan))
    return asker.came, told


def test_a_reply_that_can_be_read_is_enough() -> None:
    came, told = asked("7", "8")
    assert came == [(7, "7")]
    assert len(told.prompts) == 1


def test_what_cannot_be_read_is_asked_again() -> None:
    came, told = asked("seven", "7")
    assert came == [(7, "7")]
    assert told.prompts == [QUESTION, QUESTION]


def test_asking_ends_with_the_last_reply() -> None:
    """There is no value then, but the text is at hand, for what can be made of it."""
    came, told = asked("seven", "eight", "9")
    assert came == [(None, "eight")]
    assert len(told.prompts) == ATTEMPTS == 2


def test_every_attempt_is_a_call_of_its_own() -> None:
    """With an identity, and so a seed: the same seed would get the same reply again."""
    _, told = asked("seven", "eight")
    assert [(call.role, call.step, call.occurrence) for call, _ in told.asked] == [
        ("planner", 0, 0),
        ("planner", 0, 1),
    ]
    sampling = Sampling(model="m")
    requests = [request_for(prompt, call, sampling, 0) for call, prompt in told.asked]
    assert requests[0].seed != requests[1].seed


def test_every_attempt_is_in_the_trace() -> None:
    """The unreadable one, too: it was paid for."""
    _, told = asked("seven", "7")
    assert [reply.text for reply in told.only(ModelReplied)] == ["seven", "7"]


def test_a_call_that_failed_is_not_asked_again() -> None:
    """Its retries are over; the episode fails and is not a reply that cannot be read."""
    came, told = asked(None, "7")
    assert (came, len(told.prompts)) == ([], 1)
    assert [failed.error for failed in told.only(ModelFailed)] == ["server"]
    assert told.only(HandlerFailed) == [
        HandlerFailed(handler="Asker.plan", error="CallFailedError")
    ]
    assert told.only(EpisodeFailed) == [EpisodeFailed(why="Asker.plan raised CallFailedError")]


def test_a_reader_with_an_error_of_its_own_is_not_forgiven() -> None:
    """Only `UnreadableReplyError` means that the reply is at fault."""
    came, told = asked("seven", "7", asker=Asker(read=int))
    assert (came, len(told.prompts)) == ([], 1)
    assert [failed.error for failed in told.only(HandlerFailed)] == ["ValueError"]


@pytest.mark.parametrize("reply", ["", "  ", "seven"])
def test_nothing_is_no_reply_either(reply: str) -> None:
    assert asked(reply, reply)[0] == [(None, reply)]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Vary. Take from Puzzle. Then go on to", "Vary. Take from Puzzle."),
        ("Take 1.5 of it! And th", "Take 1.5 of it!"),
        ("recommend[Go Master] because it", "recommend[Go Master]"),
        ("Take from Puzzle and", "Take from Puzzle and"),
        ("", ""),
    ],
)
def test_of_words_that_ran_on_whole_sentences_count(text: str, kept: str) -> None:
    assert whole_sentences(text) == kept
