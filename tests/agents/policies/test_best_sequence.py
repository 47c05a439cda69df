"""The longest episode, replayed to everybody: what it keeps, what it chooses, and that it grows."""

from collections.abc import Sequence
from itertools import pairwise, takewhile
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.embeddings import hashed
from agents.policies.best_sequence import SEQUENCES, BestSequence, longest
from agents.policies.best_sequence import ItemSequence as Known
from agents.trajectory import task_lines
from engine.messages import (
    ActionTaken,
    EpisodeSettled,
    EpisodeStarted,
    MemoryWritten,
    PlanRequested,
    UserResponded,
    number,
)
from engine.records import Record
from storage.memory import Memory
from storage.runs import RunDirectory
from tests.support.cast import (
    CATALOG,
    CHESS,
    EVERYTHING,
    FARM,
    GO,
    HOUSE,
    OPERA,
    PILOT,
    RACER,
    SAGA,
    Told,
    Visit,
    trajectory,
)
from tests.support.small import Trace, only, recorded, trace_of

AGENT = BestSequence(CATALOG)
KEY = hashed(("somebody",))
REWARDS = (3.0, 3.0, 3.0, 3.0)


def sequence(*items: int, reward: float = 0.0) -> Known:
    return Known(items=items, reward=reward)


def log_of(known: Sequence[Known]) -> Memory[Known]:
    memory = Memory(SEQUENCES)
    for one in known:
        memory.append(Record(0, KEY, one))
    return memory


def visited(
    *known: Known,
    rewards: Sequence[float] = REWARDS,
    quits: bool = True,
    users: Sequence[int] = (0,),
) -> Told:
    """Let *users* visit, one after the other, who take anything; *known* was learned before."""
    visit = Visit(
        rewards=rewards, quits=quits, users=users, memories={SEQUENCES.name: log_of(known)}
    )
    return visit.run((PlanRequested, AGENT.act), (EpisodeSettled, AGENT.remember))


def items(told: Told) -> list[int]:
    return [action.item for action in told.only(ActionTaken)]


# -- which one


SEQUENCE = st.builds(
    lambda items, reward: Known(items=tuple(items), reward=reward),
    st.lists(st.sampled_from(EVERYTHING), min_size=1, max_size=3, unique=True),
    st.integers(0, 2).map(float),
)


@given(st.lists(SEQUENCE, max_size=12), st.integers(0, 12))
def test_the_longest_then_most_rewarding_then_oldest_counts(known: list[Known], seen: int) -> None:
    """Of those that the view holds; of nothing there is none."""
    view = log_of(known).view(min(seen, len(known)))
    order = sorted(range(len(view)), key=lambda n: (-len(known[n].items), -known[n].reward, n))
    assert longest(view) == (known[order[0]] if order else None)


def test_equally_good_sequences_are_the_oldest() -> None:
    """So that what is replayed changes only for the better."""
    known = [sequence(GO), sequence(CHESS, GO, reward=6.0), sequence(RACER, PILOT, reward=6.0)]
    assert longest(log_of(known).view(3)) == known[1]


# -- acting


def test_the_longest_sequence_is_replayed_in_order() -> None:
    """Item by item, whatever the user answers."""
    best = sequence(OPERA, SAGA, CHESS, GO)
    assert items(visited(sequence(RACER, PILOT), best, sequence(HOUSE))) == [*best.items]


def test_everybody_gets_the_same() -> None:
    """Users of another past and another taste as well: it knows nothing about them."""
    best = sequence(OPERA, SAGA, CHESS, GO)
    told = [
        Visit(rewards=rewards, rated=rated, memories={SEQUENCES.name: log_of([best])}).run(
            (PlanRequested, AGENT.act)
        )
        for rewards, rated in ((REWARDS, ()), ((5.0, 2.0, 2.0, 5.0), ((PILOT, 1.0),)))
    ]
    assert [items(one) for one in told] == [[*best.items]] * 2


def test_after_the_sequence_come_items_not_shown_yet() -> None:
    """Drawn at random, so that it can grow."""
    told = visited(sequence(FARM, HOUSE), rewards=[3.0] * len(EVERYTHING))
    assert items(told)[:2] == [FARM, HOUSE]
    assert sorted(items(told)) == [*EVERYTHING]


def test_who_knows_nothing_draws_at_random() -> None:
    """Other users see other items."""
    first, second = (tuple(items(visited(users=[user]))) for user in (0, 1))
    assert first != second


def test_when_everything_was_shown_anything_may_come_again() -> None:
    """Where repeats are allowed a visit may be longer than the catalog; it goes on."""
    told = visited(rewards=[3.0] * (len(EVERYTHING) + 4))
    assert len(items(told)) == len(EVERYTHING) + 4


# -- remembering


def test_a_sequence_ends_before_the_item_at_which_the_user_left() -> None:
    """Its reward is the sum up to there; the key is the likeness of the user."""
    told = visited(rewards=(4.0, 3.5, 1.5))
    (record,) = told.kept(SEQUENCES)
    assert record.payload == Known(items=tuple(items(told)[:2]), reward=7.5)
    assert (record.key == hashed(task_lines(trajectory()))).all()


def test_a_visit_that_was_cut_is_kept_whole() -> None:
    """The user was still there after the last item."""
    told = visited(rewards=(4.0, 3.5, 3.0), quits=False)
    assert [r.payload.items for r in told.kept(SEQUENCES)] == [tuple(items(told))]


def test_who_leaves_at_once_leaves_nothing() -> None:
    """There is no sequence of no items."""
    told = visited(rewards=(1.0,))
    assert told.kept(SEQUENCES) == []
    assert told.only(MemoryWritten) == []


def test_the_next_user_goes_on_where_the_last_one_left() -> None:
    """Without the item that ended the visit, and with another in its place."""
    told = visited(rewards=(4.0, 3.5, 1.5), users=[0, 1])
    first, second = items(told)[:3], items(told)[3:]
    assert second[:2] == first[:2]


# -- in a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Forty training episodes in batches, then a frozen test."""
    return recorded(
        tmp_path_factory.mktemp("best") / "run",
        agent="best-sequence",
        episodes=40,
        arrivals="batches:4",
        limit=50,
        test_episodes=20,
    )


def visits(trace: Trace) -> list[Trace]:
    count = len(only(trace, EpisodeStarted))
    return [[e for e in trace if e.episode == number] for number in range(count)]


def test_sequences_grow_while_it_is_trained(run: RunDirectory) -> None:
    """What is replayed never gets shorter, and is much longer in the end than at first."""
    memory = Memory.load(run.memory, SEQUENCES)
    lengths = []
    for start in only(trace_of(run), EpisodeStarted):
        best = longest(memory.view(start.memories[0].length))
        lengths.append(len(best.items) if best else 0)
    assert lengths[0] == 0
    assert all(before <= after for before, after in pairwise(lengths))
    assert lengths[-1] >= lengths[4] + 5


def test_all_tested_users_see_the_same_sequence(run: RunDirectory) -> None:
    """The best of training, until they leave or it is at its end."""
    memory = Memory.load(run.memory, SEQUENCES)
    best = longest(memory.view(len(memory)))
    assert best is not None
    for visit in visits(trace_of(run))[40:]:
        shown = [action.item for action in only(visit, ActionTaken)][: len(best.items)]
        assert tuple(shown) == best.items[: len(shown)]


def test_a_sequence_is_what_the_trace_says(run: RunDirectory) -> None:
    """Every record: the items of its episode after which the user stayed, and their rewards."""
    trace = visits(trace_of(run))
    for record in Memory.load(run.memory, SEQUENCES).records():
        visit = trace[record.episode]
        stayed = [*takewhile(lambda response: not response.left, only(visit, UserResponded))]
        shown = [action.item for action in only(visit, ActionTaken)]
        assert record.payload.items == tuple(shown[: len(stayed)])
        assert record.payload.reward == number(fsum(response.reward for response in stayed))
