"""An episode step by step: nothing is lost, and causes come before what they led to."""

from pathlib import Path

import pytest

from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    Envelope,
    Message,
    ModelReplied,
    StateValued,
    UserResponded,
)
from sim.analysis.leaving import Leaving, leaving
from sim.analysis.memory.recalls import bare_recalls, recalls_of
from sim.analysis.memory.texts import RecordedTexts
from sim.analysis.steps import AFTER, Told, asked_in, told
from sim.config.layers import configured
from sim.runs.recorded import cast_of
from sim.runs.run import run
from storage.runs import RunDirectory
from storage.traces import read_episode, read_episodes, read_head
from tests.support.small import SMALL, synthetic


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    path = tmp_path_factory.mktemp("runs") / "small"
    run(configured(SMALL), out=path)
    return RunDirectory(path)


def categories(item: int) -> tuple[str, ...]:
    return synthetic().catalog.categories[item]


def whole(envelopes: list[Envelope[Message]]) -> Told:
    return told(envelopes, bare_recalls, categories)


def why(recorded: RunDirectory, episode: int, *, here: bool = True) -> Leaving:
    settings = dict(read_head(recorded.trace).settings)
    found = leaving(
        whole(read_episode(recorded.trace, episode)),
        settings,
        synthetic() if here else None,
        "it is away",
    )
    assert found is not None
    return found


def test_every_envelope_has_its_place(recorded: RunDirectory) -> None:
    """Each message is a card, or a call of one; none is there twice."""
    for episode in range(6):
        envelopes = read_episode(recorded.trace, episode)
        found = whole(envelopes)
        cards = [found.opened, *(c for s in found.steps for c in s.cards), *found.closing]
        there = [card.n for card in cards] + [call.n for card in cards for call in card.calls]
        assert sorted(there) == [envelope.n for envelope in envelopes]
        assert {*found.places} == {*there}


def test_cards_come_in_the_order_of_cause(recorded: RunDirectory) -> None:
    """Thought, recommendation, answer, value, advantage; a value of the beginning comes first."""
    first, second = whole(read_episode(recorded.trace, 5)).steps[:2]
    usual = ["waited", "thought", "action", "response", "value", "advantage"]
    assert [card.kind for card in second.cards] == usual
    assert [card.kind for card in first.cards] == ["value", *usual]


def test_a_call_stands_with_what_came_of_it(recorded: RunDirectory) -> None:
    """The planner's with the thought, the actor's with the item, the critic's with the value."""
    found = whole(read_episode(recorded.trace, 5))
    roles = {"thought": "planner", "action": "actor", "value": "critic", "reflection": "reflector"}
    cards = [*(card for step in found.steps for card in step.cards), *found.closing]
    asked = [(card.kind, call.role) for card in cards for call in card.calls]
    assert all(roles[kind] == role for kind, role in asked)
    assert {role for _, role in asked} == {*roles.values()}


def test_a_step_tells_its_numbers(recorded: RunDirectory) -> None:
    """What the user answered, the value before and after, and the advantage."""
    envelopes = read_episode(recorded.trace, 5)
    messages = [envelope.message for envelope in envelopes]
    step = whole(envelopes).steps[1]
    values = {m.state: m.value for m in messages if isinstance(m, StateValued)}
    gains = {m.step: m.advantage for m in messages if isinstance(m, AdvantageEstimated)}
    rewards = {m.step: m.reward for m in messages if isinstance(m, UserResponded)}
    items = {m.step: m.item for m in messages if isinstance(m, ActionTaken)}
    assert (step.reward, step.advantage) == (rewards[1], gains[1])
    assert (step.value, step.after) == (values[1], values.get(2))
    assert step.categories == categories(items[1])


def test_a_call_that_came_to_nothing_is_shown(recorded: RunDirectory) -> None:
    """Of an episode that was cut off after a reply the reply is there."""
    envelopes = read_episode(recorded.trace, 5)
    cut = next(i for i, e in enumerate(envelopes) if isinstance(e.message, ModelReplied)) + 1
    found = whole(envelopes[:cut])
    assert [card.kind for card in found.steps[0].cards] == ["waited", "call"]
    assert asked_in(envelopes[:cut]) == list(found.steps[0].cards[-1].calls)


def test_records_say_what_they_said(recorded: RunDirectory) -> None:
    """What was recalled is read from the memories that the run saved."""
    messages = [envelope.message for envelope in read_episode(recorded.trace, 5)]
    memories = cast_of(recorded, read_head(recorded.trace)).memories
    recalls = recalls_of(messages, memories, RecordedTexts(recorded))
    memos = [memo for message in messages for memo in recalls(message)]
    bare = [memo for message in messages for memo in bare_recalls(message)]
    assert memos
    assert all(memo.says and memo.memory for memo in memos)
    assert {(m.position, m.distance) for m in memos} == {(m.position, m.distance) for m in bare}


def test_distances_are_those_that_the_rule_went_by(recorded: RunDirectory) -> None:
    """The item that the rule named is as near, made again, as the trace says."""
    seen = 0
    for episode, envelopes in read_episodes(recorded.trace, (UserResponded,)):
        last = envelopes[-1].message
        if isinstance(last, UserResponded) and last.reason == "similar" and last.evidence:
            found = why(recorded, episode)
            blamed = next(near for near in found.window if near.blamed)
            assert blamed.distance == pytest.approx(last.evidence.measure, rel=1e-5)
            assert found.beta == last.evidence.bound > last.evidence.measure
            assert found.of == "likeness"
            assert len(found.window) <= 4
            seen += 1
    assert seen


def test_without_its_world_a_visit_still_tells_why(recorded: RunDirectory) -> None:
    """The sentence goes by the trace alone; distances are not known, and it says why."""
    here, away = why(recorded, 0), why(recorded, 0, here=False)
    assert away.sentence == here.sentence != ""
    assert (here.unknown, away.unknown) == ("", "it is away")
    assert all(near.distance is None for near in away.window)


def test_a_visit_that_the_limit_cut_says_so(tmp_path: Path) -> None:
    """Nothing made the user leave; the end is told after the steps."""
    out = tmp_path / "run"
    run(configured(SMALL, {"episodes": 2, "limit": 1, "quit": {"lowest": 0.0}}), out=out)
    directory = RunDirectory(out)
    found = why(directory, 0)
    assert (found.reason, found.of, found.window) == ("limit", "nothing", ())
    assert "limit" in found.sentence
    assert AFTER in whole(read_episode(directory.trace, 0)).places.values()
