"""What experience says of items: pooled by state, and whatever the state was."""

from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.billp.advice import Adviser, Surprises
from agents.billp.memories import EXPERIENCES, Experience
from agents.embeddings import hashed
from agents.settings import ActorSettings
from engine.records import Record
from storage.memory import Memory

STATES = [hashed((name,)) for name in ("one", "two", "three")]
EIGHTHS = [eighth / 8 for eighth in range(-40, 41)]  # sums of them are exact

experiences = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from(EIGHTHS)), max_size=30
)
"""States, items and advantages."""


def memory(
    known: Sequence[tuple[int, int, float]], capacity: int | None = None
) -> Memory[Experience]:
    log: Memory[Experience] = Memory(EXPERIENCES, capacity=capacity)
    for state, item, advantage in known:
        worth = Experience(item=item, title=str(item), advantage=advantage, surprise=advantage / 2)
        log.append(Record(0, STATES[state], worth))
    return log


@given(experiences)
def test_advice_is_the_mean_of_all_that_was_known_then(known: list[tuple[int, int, float]]) -> None:
    """However the log grew in between: what is kept goes on from where it was, or begins anew."""
    log, adviser = memory(known), Adviser(ActorSettings(within=0.0, hints=100))
    for length in [*range(0, len(known) + 1, 3), len(known) // 2, len(known)]:
        worth: dict[int, list[float]] = defaultdict(list)
        for state, item, advantage in known[:length]:
            if state == 1:
                worth[item].append(advantage)
        advice = adviser.advise(log.view(length), STATES[1])
        assert {*advice.encouraged} == {item for item, own in worth.items() if sum(own) >= -1e-9}
        assert {*advice.discouraged} == {item for item, own in worth.items() if sum(own) < -1e-9}


@given(experiences)
def test_each_item_is_told_by_its_newest_record_of_the_sign(
    known: list[tuple[int, int, float]],
) -> None:
    advice = Adviser(ActorSettings(within=0.0)).advise(memory(known).view(len(known)), STATES[0])
    for item, recall in zip((*advice.encouraged, *advice.discouraged), advice.found, strict=True):
        good = item in advice.encouraged
        places = [
            place
            for place, (state, other, advantage) in enumerate(known)
            if (state, other, advantage >= 0) == (0, item, good)
        ]
        assert recall.position == max(places)


@given(experiences, st.sampled_from([None, 4]))
def test_surprises_are_pooled_over_all_states(
    known: list[tuple[int, int, float]], capacity: int | None
) -> None:
    """Of what can be recalled; the mean of an item does not depend on how the log grew."""
    log, surprises = memory(known, capacity), Surprises()
    for length in [*range(0, len(known) + 1, 2), len(known) // 2, len(known)]:
        recalled = known[:length] if capacity is None else known[:length][-capacity:]
        own: dict[int, list[float]] = defaultdict(list)
        for _, item, advantage in recalled:
            own[item].append(advantage / 2)
        found = surprises.of(log.view(length))
        assert {item: one.count for item, one in found.items()} == {
            i: len(v) for i, v in own.items()
        }
        for item, values in own.items():
            assert found[item].mean == pytest.approx(sum(values) / len(values), abs=1e-12)


def test_what_was_not_expected_did_not_surprise() -> None:
    log: Memory[Experience] = Memory(EXPERIENCES)
    log.append(Record(0, STATES[0], Experience(item=1, title="1", advantage=1.0)))
    assert Surprises().of(log.view(1)) == {}


def test_advice_from_another_log_does_not_mix() -> None:
    """A rollout asks the same adviser of the same positions in another run's memory."""
    adviser = Adviser(ActorSettings(within=0.0))
    assert adviser.advise(memory([(0, 1, 1.0)]).view(1), STATES[0]).encouraged == (1,)
    assert adviser.advise(memory([(0, 1, -1.0)]).view(1), STATES[0]).discouraged == (1,)
    surprises = Surprises()
    assert surprises.of(memory([(0, 1, 1.0)]).view(1))[1].mean == 0.5
    assert surprises.of(memory([(0, 1, -1.0)]).view(1))[1].mean == -0.5


class Counting:
    """A view that counts how many records are read."""

    def __init__(self, log: Memory[Experience], length: int) -> None:
        self._view = log.view(length)
        self.start = self._view.start
        self.read = 0
        self.recall, self.alike = self._view.recall, self._view.alike

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, position: int) -> Record[Experience]:
        self.read += 1
        return self._view[position]


def test_an_episode_reads_what_is_new_alone() -> None:
    """Else ten thousand episodes would read the state in which all begin ten thousand times."""
    log = memory([(0, place % 4, 1.0) for place in range(2_000)])
    adviser, surprises = Adviser(ActorSettings(within=0.0)), Surprises()
    adviser.advise(log.view(1_990), STATES[0])
    surprises.of(log.view(1_990))
    seen = Counting(log, 2_000)
    adviser.advise(seen, STATES[0])
    surprises.of(seen)
    assert seen.read < 40
