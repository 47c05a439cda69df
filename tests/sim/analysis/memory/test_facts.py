"""What memories were good for: counted by hand, and beside what a run really saved."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from agents.billp.memories import (
    EXPERIENCES,
    REFLECTIONS,
    VALUATIONS,
    Experience,
    Reflection,
    Valuation,
)
from agents.embeddings import hashed
from agents.making import AgentMemory
from agents.policies.best_sequence import SEQUENCES, ItemSequence
from agents.policies.linucb import TRIALS, Pull
from engine.errors import FileError, TraceError
from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    MemoryWritten,
    Message,
    Phase,
    PlanMade,
    Recalled,
    StateValued,
    UserResponded,
    number,
)
from engine.records import Record
from engine.tree import encode
from sim.analysis.memory.facts import Facts, Followed, Guided, Kept, facts_of
from sim.analysis.memory.plane import Plane
from sim.analysis.memory.saved import Saved
from sim.analysis.memory.trace import read_recalls
from storage.memory import Memory
from storage.runs import RunDirectory
from tests.support.small import recorded

MEMORIES: tuple[AgentMemory[Any], ...] = (REFLECTIONS, EXPERIENCES, VALUATIONS)
Place = tuple[int, int, float]


def found(*places: Place) -> tuple[Recalled, ...]:
    return tuple(Recalled(position=p, episode=e, distance=d) for p, e, d in places)


def step(
    place: int,
    item: int,
    reward: float,
    recalled: Sequence[Place] = (),
    reflections: Sequence[Place] = (),
    left: bool = False,
) -> list[Message]:
    """A step: what was recalled for it, what was recommended, and what the user answered."""
    return [
        PlanMade(step=place, thought="", reflections=found(*reflections)),
        ActionTaken(
            step=place,
            item=item,
            title="",
            words="",
            grounding="exact",
            distance=0.0,
            recalled=found(*recalled),
        ),
        UserResponded(step=place, reward=reward, left=left),
        StateValued(state=place, value=1.0),
    ]


def visit(
    *steps: list[Message],
    end: int,
    advantages: Sequence[float] = (),
    phase: Phase = "train",
) -> list[tuple[int, Message]]:
    """An episode; one with *advantages* leaves them, and a reflection, for the memories."""
    messages = [message for one in steps for message in one]
    rewards = [m.reward for m in messages if isinstance(m, UserResponded)]
    ended = EpisodeEnded(length=len(rewards), reward=sum(rewards), reason="quit")
    worths = [
        AdvantageEstimated(step=n, value=0.0, next_value=0.0, advantage=worth)
        for n, worth in enumerate(advantages)
    ]
    kept = [
        MemoryWritten(memory="critic", count=len(worths)),
        MemoryWritten(memory="planner", count=1),
        MemoryWritten(memory="actor", count=len(worths)),
    ]
    after = [EpisodeSettled(), *worths, *(kept if worths else ())]
    began = EpisodeStarted(user=0, session=0, arrival=0, history=(), memories=(), phase=phase)
    return [(0, began), *((end // 2, m) for m in [*messages, ended]), *((end, m) for m in after)]


EARLY = visit(step(0, 7, 4.0), step(1, 8, 2.0, left=True), end=2_000, advantages=(1.0, -1.0))
EARLIEST = visit(step(0, 9, 3.0, left=True), end=1_000, advantages=(0.0,))
# The log of the actor is now: 9 by episode 1, then 7 and 8 by episode 0.
LATER = visit(
    step(0, 7, 5.0, [(1, 0, 0.1), (2, 0, 0.2)], [(0, 1, 0.5)]),
    step(1, 8, 1.0, [(2, 0, 0.3)]),
    step(2, 5, 2.0, [(0, 1, 0.4)], left=True),
    end=3_000,
    advantages=(-2.0, 0.0, 0.0),
)
TESTED = visit(step(0, 9, 3.0, [(0, 1, 0.0)], left=True), end=4_000, phase="test")
LAST = visit(step(0, 7, 4.0, [(1, 0, 0.25), (3, 2, 0.35)], left=True), end=5_000)


def write(path: Path, *episodes: list[tuple[int, Message]]) -> Path:
    trace = path / "trace.jsonl"
    lines = [
        encode(Envelope(episode=episode, n=n, cause=None, time=time, message=message)) + b"\n"
        for episode, messages in enumerate(episodes)
        for n, (time, message) in enumerate(messages)
    ]
    trace.write_bytes(b"".join(lines))
    return trace


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    path = tmp_path_factory.mktemp("told")
    return facts_of(write(path, EARLY, EARLIEST, LATER, TESTED, LAST), MEMORIES)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run of users who come back: its episodes do not end in the order of their numbers."""
    how: dict[str, Any] = {"arrivals": "poisson:0.02", "sessions": 2, "return_gap": [1.0, 2.0]}
    return recorded(tmp_path_factory.mktemp("small") / "run", **how)


# -- what a trace tells


def test_what_was_kept_and_recalled_is_counted(facts: Facts) -> None:
    """Of the actor: 6 records of 3 episodes, asked at 8 steps, 5 of which got 7 records."""
    assert facts.memories[1] == Kept(
        memory="actor",
        records=6,
        writers=3,
        asked=8,
        answered=5,
        recalls=7,
        recalled=4,
        readers=3,
        distances=(0.0, 0.15, 0.25, 0.325, 0.4),
    )


def test_a_memory_that_was_never_recalled_has_no_distances(facts: Facts) -> None:
    critic = facts.memories[2]
    assert (critic.memory, critic.records, critic.asked, critic.recalls) == ("critic", 6, 8, 0)
    assert critic.distances == ()


def test_steps_are_compared_by_the_advice_on_their_item(facts: Facts) -> None:
    """An advantage of 0 encourages; the reward to go is that of the step and all after it."""
    rows = [
        ("encouraged", 2, 0.0, 4.0, 0.5, 5.5),
        ("discouraged", 1, 1.0, 1.0, 0.0, 3.0),
        ("both", 1, 0.0, 4.0, 1.0, 4.0),
        ("neither", 1, 2.0, 2.0, 1.0, 2.0),
        ("nothing recalled", 3, number(1 / 3), 3.0, number(2 / 3), number(11 / 3)),
    ]
    names = Followed.__struct_fields__
    assert [tuple(getattr(row, name) for name in names) for row in facts.followed] == rows


def test_episodes_are_compared_by_whether_lessons_were_recalled(facts: Facts) -> None:
    """Training and test apart; where there are no episodes there is no mean."""
    assert facts.guided == (
        Guided(phase="train", recalled=True, episodes=1, len=3.0, r_traj=8.0),
        Guided(phase="train", recalled=False, episodes=3, len=number(4 / 3), r_traj=number(13 / 3)),
        Guided(phase="test", recalled=True, episodes=0, len=None, r_traj=None),
        Guided(phase="test", recalled=False, episodes=1, len=1.0, r_traj=3.0),
    )


def test_failed_and_torn_episodes_are_in_nothing(tmp_path: Path) -> None:
    """Whether they failed before they had settled or after: then nothing is remembered either."""
    lost = EpisodeFailed(why="a call failed")
    failed, late = ([*messages, (3_000, lost)] for messages in (LATER[:5], LATER))
    torn = LAST[:4]
    whole = facts_of(write(tmp_path, EARLY, EARLIEST), MEMORIES)
    told = facts_of(write(tmp_path, EARLY, EARLIEST, failed, late, torn), MEMORIES)
    assert (whole.failed, told.failed) == (0, 2)
    assert msgspec.structs.replace(told, failed=0) == whole


def test_a_memory_that_the_agent_has_not_is_not_told_of(tmp_path: Path) -> None:
    told = facts_of(write(tmp_path, EARLY), [TRIALS])
    assert [kept.memory for kept in told.memories] == ["trials"]
    assert (told.followed, told.guided) == ((), ())


def test_a_record_of_another_episode_is_refused(tmp_path: Path) -> None:
    """Positions and writers must agree, or all that is told would be wrong."""
    lying = visit(step(0, 7, 4.0, [(1, 1, 0.25)]), end=5_000)
    with pytest.raises(TraceError, match="record 1 of actor is not of episode 1"):
        facts_of(write(tmp_path, EARLY, EARLIEST, lying), MEMORIES)


def test_records_without_their_advantages_are_refused(tmp_path: Path) -> None:
    short = [pair for pair in EARLY if not isinstance(pair[1], AdvantageEstimated)]
    with pytest.raises(TraceError, match=r"episode 0: 2 records of actor .* 0 advantages"):
        facts_of(write(tmp_path, short), MEMORIES)


def test_a_step_without_a_response_is_refused(tmp_path: Path) -> None:
    mute = [pair for pair in EARLIEST if not isinstance(pair[1], UserResponded)]
    with pytest.raises(TraceError, match="episode 0: expected step 0 and a response"):
        facts_of(write(tmp_path, mute), MEMORIES)


@pytest.mark.parametrize("kind", [EpisodeStarted, EpisodeEnded])
def test_an_episode_without_an_end_is_refused(tmp_path: Path, kind: type[Message]) -> None:
    cut = [pair for pair in EARLY if not isinstance(pair[1], kind)]
    with pytest.raises(TraceError, match="episode 0: expected EpisodeStarted and EpisodeEnded"):
        facts_of(write(tmp_path, cut), MEMORIES)


# -- beside a real run


def test_the_trace_alone_says_what_each_position_holds(small: RunDirectory) -> None:
    """What is made of the trace is what the run saved, record by record."""
    told = read_recalls(small.trace, MEMORIES)
    for name in MEMORIES:
        kept = [record.episode for record in Memory.load(small.memory, name).records()]
        assert told.logs[name.name]["episode"].tolist() == kept
    log = told.logs["actor"]
    worths = [record.payload for record in Memory.load(small.memory, EXPERIENCES).records()]
    assert log["item"].tolist() == [worth.item for worth in worths]
    assert log["advantage"].tolist() == [worth.advantage for worth in worths]
    assert log["episode"].tolist() != sorted(log["episode"])


def test_a_part_of_a_trace_tells_its_part(small: RunDirectory, tmp_path: Path) -> None:
    """Whatever a crash left: records that were recalled are of episodes that stand before."""
    lines = small.trace.read_bytes().splitlines(keepends=True)
    part = tmp_path / "trace.jsonl"
    counts = []
    for share in (3, 2, 1):
        part.write_bytes(b"".join(lines[: len(lines) // share]))
        counts.append(facts_of(part, MEMORIES).episodes)
    assert counts == sorted(counts)
    assert counts[-1] == 12


def test_a_search_finds_what_a_recall_would(small: RunDirectory) -> None:
    """The same records at the same distances in the same order, ties included."""
    for name in MEMORIES:
        memory = Memory.load(small.memory, name)
        for text in ("nothing yet", "Chess Duel Strategy"):
            found = Saved(small.memory, name).nearest(hashed([text]), 9)
            recalled = memory.view(len(memory)).recall(hashed([text]), 9)
            assert [(one.entry.position, one.distance) for one in found] == [
                (one.position, one.distance) for one in recalled
            ]


# -- saved memories


@pytest.fixture
def kept(tmp_path: Path) -> Saved:
    """Three reflections by episodes 4, 2 and 3."""
    memory = Memory(REFLECTIONS)
    for episode, key, text in ((4, (3, 4), "a"), (2, (4, 3), "b"), (3, (0, 5), "c")):
        memory.append(Record(episode, np.array(key, np.int8), Reflection(text=text)))
    memory.save(tmp_path)
    return Saved(tmp_path, REFLECTIONS)


def test_records_are_read_by_position(kept: Saved) -> None:
    assert [(e.position, e.episode, e.says) for e in kept.first(2)] == [(0, 4, "a"), (1, 2, "b")]
    assert {place: entry.says for place, entry in kept.at([2, 0, 2]).items()} == {0: "a", 2: "c"}
    assert len(kept.first(99)) == len(kept) == 3


def test_distances_are_those_of_the_angles(kept: Saved) -> None:
    """To (0, 5): the cosine of (3, 4) is 4/5, that of (4, 3) is 3/5."""
    found = kept.nearest(np.array([0, 5], np.int8), 3)
    assert [(one.entry.says, one.distance) for one in found] == [("c", 0.0), ("a", 0.2), ("b", 0.4)]


def test_a_memory_may_hold_nothing(tmp_path: Path) -> None:
    Memory(VALUATIONS).save(tmp_path)
    empty = Saved(tmp_path, VALUATIONS)
    assert (len(empty), empty.first(3), empty.nearest(hashed(["any"]), 3)) == (0, [], [])


def test_damage_is_named_with_its_place(kept: Saved) -> None:
    lines = kept.directory / "planner.jsonl"
    whole = lines.read_bytes().splitlines(keepends=True)
    lines.write_bytes(b"".join(whole[:2]))
    with pytest.raises(FileError, match=r"planner\.jsonl: holds no record 2, of 3 keys"):
        kept.first(3)
    lines.write_bytes(whole[0] + b"{}\n")
    with pytest.raises(FileError, match=r"planner\.jsonl:2: not a record: "):
        kept.first(2)
    (kept.directory / "planner.npy").unlink()
    with pytest.raises(FileError, match=r"planner\.npy: there is no such memory"):
        Saved(kept.directory, REFLECTIONS).first(1)


def test_keys_of_another_kind_are_refused(kept: Saved) -> None:
    with pytest.raises(FileError, match="keys of 2 numbers, not 256"):
        kept.nearest(hashed(["any"]), 1)
    np.save(kept.directory / "planner.npy", np.zeros((3, 2)))
    with pytest.raises(FileError, match="not keys: expected rows of int8"):
        len(Saved(kept.directory, REFLECTIONS))
    (kept.directory / "planner.npy").write_bytes(b"no array")
    with pytest.raises(FileError, match="not keys"):
        len(Saved(kept.directory, REFLECTIONS))


def test_every_record_says_something() -> None:
    assert REFLECTIONS.says(Reflection(text="Vary.")) == "Vary."
    assert EXPERIENCES.says(Experience(item=1, title="Go", advantage=-2.0)) == "Go: advantage -2"
    assert VALUATIONS.says(Valuation(value=3.0)) == "value 3"
    assert (
        SEQUENCES.says(ItemSequence(items=(4, 2), reward=7.5)) == "items 4, 2: sum of rewards 7.5"
    )
    assert TRIALS.says(Pull(features=(1.0, 0.5), payoff=3.0)) == "pay-off 3 of 1, 0.5"


# -- the plane of a map


def keys(*rows: tuple[int, ...]) -> NDArray[np.int8]:
    return np.array(rows, np.int8)


def test_a_plane_lies_along_the_largest_spreads() -> None:
    """Spreads of 120² and 10² along two directions: 0.993 of the variance, and the rest."""
    cross = keys((5, 10, 0), (5, -10, 0), (5, 0, 120), (5, 0, -120))
    plane = Plane.of([cross[:1], cross[1:]])
    assert np.allclose(plane.axes, [(0, 0, 1), (0, 1, 0)], atol=1e-12)
    assert plane.shares == (number(14_400 / 14_500), number(100 / 14_500))
    places = plane.places(cross) * 127
    assert np.allclose(places, [(0, 10), (0, -10), (120, 0), (-120, 0)], atol=1e-9)


def test_a_plane_is_that_of_the_centred_rows() -> None:
    """Beside numpy's decomposition of the rows themselves; signs are settled by the largest."""
    rows = np.random.default_rng(3).integers(-100, 100, (40, 6)).astype(np.int8)
    centred = rows - rows.mean(axis=0)
    expected = np.linalg.svd(centred)[2][:2]
    plane = Plane.of([rows])
    assert np.allclose(np.abs(plane.axes), np.abs(expected))
    assert all(axis[np.argmax(np.abs(axis))] > 0 for axis in plane.axes)
    assert np.allclose(plane.places(rows).mean(axis=0), 0.0, atol=1e-12)


def test_records_at_one_place_make_a_point() -> None:
    plane = Plane.of([keys((3, 4), (3, 4))])
    assert plane.shares == (0.0, 0.0)
    assert np.allclose(plane.places(keys((3, 4))), 0.0)
