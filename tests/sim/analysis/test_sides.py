"""Two episodes side by side: where they part, and what differs in each step."""

import msgspec
import pytest

from engine.messages import Envelope, Message
from sim.analysis.ledger import Ledger
from sim.analysis.sides import AFTER, BEFORE, Sides, pieces, sides
from tests.support.small import recorded

Envelopes = list[Envelope[Message]]


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Envelopes:
    ledger = Ledger(recorded(tmp_path_factory.mktemp("run") / "run", episodes=3).trace)
    ledger.refresh()
    return ledger.read(1)


def altered(episode: Envelopes, kind: str, **fields: object) -> Envelopes:
    """Return an episode whose first message of a *kind* says something else."""
    place = next(p for p, one in enumerate(episode) if type(one.message).__name__ == kind)
    message = msgspec.structs.replace(episode[place].message, **fields)
    changed = msgspec.structs.replace(episode[place], message=message)
    return [*episode[:place], changed, *episode[place + 1 :]]


def differing(found: Sides) -> list[tuple[int, str]]:
    return [(step.step, f.name) for step in found.steps for f in step.facts if f.differs]


def test_an_episode_is_the_same_as_itself(episode: Envelopes) -> None:
    """Whatever its number is in another run."""
    found = sides(episode, [msgspec.structs.replace(one, episode=7) for one in episode])
    assert found.first is None
    assert differing(found) == []
    assert [step.step for step in found.steps][:2] == [BEFORE, 0]
    assert found.steps[-1].step == AFTER


def test_a_difference_is_marked_where_it_is(episode: Envelopes) -> None:
    found = sides(episode, altered(episode, "UserResponded", reward=1.25))
    assert found.first is not None
    assert (found.first.message, found.first.field) == ("UserResponded", "reward")
    assert found.first.other == "1.25"
    assert [step.step for step in found.steps if step.first] == [0]
    assert differing(found) == [(0, "reward")]


def test_what_was_done_otherwise_is_told_apart_from_how_they_began(episode: Envelopes) -> None:
    """Who came at another time differs at once, and may be treated the same for long."""
    later = altered(episode, "EpisodeStarted", arrival=99)
    assert sides(episode, later).parting is None
    other = altered(later, "UserResponded", reward=1.25)
    found = sides(episode, other)
    assert found.first is not None
    assert found.first.place == BEFORE
    assert found.parting == (0, "reward")


def test_the_first_of_several_is_told(episode: Envelopes) -> None:
    other = altered(altered(episode, "UserResponded", reward=1.25), "PlanMade", thought="No.")
    first = sides(episode, other).first
    assert first is not None
    assert first.message == "PlanMade"


def test_an_episode_that_ends_early_differs_there(episode: Envelopes) -> None:
    """What only one of them says has nothing beside it."""
    found = sides(episode, episode[:3])
    assert found.first is not None
    assert found.first.n == episode[3].n
    alone = next(fact for step in found.steps for fact in step.facts if fact.name == "ended")
    assert alone.other == ()


def test_words_that_are_shared_are_told_from_those_that_are_not() -> None:
    one, other = pieces("rated 3.5 by all of them", "rated 4 by all of us")
    assert [piece.text for piece in one if piece.own] == ["3.5", "them"]
    assert [piece.text for piece in other if piece.own] == ["4", "us"]
    assert "".join(piece.text for piece in one) == "rated 3.5 by all of them"


def test_texts_that_are_too_long_are_compared_as_a_whole() -> None:
    """It would take a minute to align them."""
    long = "a b " * 4_000
    one, other = pieces(long, f"{long}c")
    assert [len(one), len(other)] == [1, 1]
    assert one[0].own
