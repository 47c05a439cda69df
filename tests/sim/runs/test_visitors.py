"""Who visits in a run: training users, and test users after them or in between."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.arrivals import Arrivals, Part, Visit, arrivals
from engine.calls import Call
from engine.chance import Stream, chance
from engine.errors import ConfigError, ServiceError
from engine.messages import ActionTaken, EpisodeStarted, MemoryWritten, ReflectionWritten, RunEnded
from sim.config.layers import configured
from sim.config.run import RunConfig
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.runs.run import run
from sim.runs.visitors import numbered, parts, visitors
from storage.runs import RunDirectory
from tests.storage.datasets.test_training import LIKED, RATED, TRAIN, world
from tests.support.small import SMALL, Counted, Trace, only, recorded, synthetic, trace_of

WORLDS: dict[str, dict[str, Any]] = {
    "frozen": {"test_episodes": 5},
    "learning": {"test_episodes": 5, "test_memory": "learning"},
    "curve": {"test_episodes": 3, "test_every": 2},
    "poisson": {
        "test_episodes": 4,
        "test_every": 3,
        "arrivals": "poisson:0.05",
        "publication_delay": 20,
    },
}

of_every_world = pytest.mark.parametrize("name", WORLDS)


def settings(**how: Any) -> RunConfig:
    return configured({"episodes": 6, "arrivals": "batches:2"}, how)


def planned(**how: Any) -> list[Part]:
    return parts(settings(**how), synthetic())


# -- who comes when


@of_every_world
def test_visitors_are_known_by_number_beforehand(name: str, tmp_path: Path) -> None:
    """In the very order in which episodes start, whatever comes of them."""
    run = recorded(tmp_path / "run", **WORLDS[name])
    started = only(trace_of(run), EpisodeStarted)
    who = numbered(configured(SMALL, WORLDS[name]), synthetic())
    assert who == [(one.user, one.session) for one in started]


def test_where_users_come_back_nobody_knows() -> None:
    assert numbered(settings(sessions=2, arrivals="all"), synthetic()) is None


# -- the parts of a run


def test_without_a_test_a_run_is_one_part() -> None:
    """All train and teach, as they arrive by the rule."""
    visits = visitors(settings(), synthetic())
    assert planned() == [Part("batches:2", visits)]


def test_a_test_comes_after_training() -> None:
    """Its users do not teach, and as nobody waits for anybody they come all at once."""
    train, test = planned(test_episodes=5)
    assert (train.rule, train.phase, train.teaching, len(train.visitors)) == (
        *("batches:2", "train", True),
        6,
    )
    assert (test.rule, test.phase, test.teaching, len(test.visitors)) == ("all", "test", False, 5)


def test_who_is_tested_while_learning_arrives_as_in_training() -> None:
    """In batches, each of which knows what the last one left: the protocol of the paper."""
    _, test = planned(test_episodes=5, test_memory="learning")
    assert (test.rule, test.phase, test.teaching) == ("batches:2", "test", True)


@pytest.mark.parametrize(
    ("every", "counts"),
    [
        (2, [2, 2, 2]),
        (4, [4, 2]),
        (6, [6]),
        (100, [6]),
    ],
)
def test_a_learning_curve_has_a_test_before_between_and_after(
    every: int, counts: list[int]
) -> None:
    """After every so many training episodes, and when there are no more."""
    first, *others = planned(test_episodes=3, test_every=every)
    assert [part.phase for part in others] == ["train", "test"] * len(counts)
    assert [len(part.visitors) for part in others[::2]] == counts
    assert {(part.phase, len(part.visitors)) for part in (first, *others[1::2])} == {("test", 3)}


def test_tests_in_between_change_nothing_about_who_trains() -> None:
    """The same users in the same order, however often there is a test."""
    plain = visitors(settings(), synthetic())
    for every in (0, 1, 4):
        found = planned(test_episodes=3, test_every=every)
        assert [v for part in found if part.phase == "train" for v in part.visitors] == plain


@given(
    episodes=st.integers(1, 40),
    test_episodes=st.integers(1, 250),
    every=st.integers(0, 12),
    seed=st.integers(0, 5),
)
def test_every_test_has_the_same_users_in_new_sessions(
    episodes: int, test_episodes: int, every: int, seed: int
) -> None:
    """So rounds can be compared user by user; and nobody is both trained on and tested."""
    how = {"episodes": episodes, "test_episodes": test_episodes, "test_every": every, "seed": seed}
    config = settings(**how)
    found = parts(config, synthetic())
    tests = [part.visitors for part in found if part.phase == "test"]
    users = [[user for user, _ in who] for who in tests]
    assert users == [users[0]] * len(config.tested_after)
    visits = [visit for part in found for visit in part.visitors]
    assert len(visits) == len({*visits}) == config.visits
    assert {user for who in users for user in who} <= {*synthetic().test_users.tolist()}
    trained = {user for part in found if part.phase == "train" for user, _ in part.visitors}
    assert trained <= {*synthetic().train_users.tolist()}


def test_everybody_is_tested_once_before_anybody_is_tested_twice() -> None:
    """100 test users, 150 tests: half of them come again, as another session."""
    test = planned(test_episodes=150)[-1].visitors
    assert sorted(user for user, _ in test[:100]) == synthetic().test_users.tolist()
    assert [user for user, _ in test[100:]] == [user for user, _ in test[:50]]
    assert [session for _, session in test] == [0] * 100 + [1] * 50


def test_another_seed_tests_others() -> None:
    """Who is tested is drawn, and not with who is trained on."""
    first, again, other = (planned(test_episodes=5, seed=seed)[-1].visitors for seed in (0, 0, 1))
    assert first == again != other


# -- arriving part after part


def stream() -> Stream:
    return chance(0, 0, 0, 0, "arrivals")


RULES = st.one_of(
    st.just("all"),
    st.integers(1, 4).map("batches:{}".format),
    st.integers(1, 1_000).map("poisson:{}".format),
)


@st.composite
def several(draw: st.DrawFn) -> list[Part]:
    """Return parts of a run; each user says of which part he is."""
    return [
        Part(draw(RULES), [(100 * place + n, 0) for n in range(draw(st.integers(1, 5)))])
        for place in range(draw(st.integers(2, 5)))
    ]


def lived(coming: Arrivals, data: st.DataObject) -> list[tuple[Visit, int]]:
    """Return every visit with its end; who is there leaves at any time, before others come."""
    here: list[Visit] = []
    ended: list[tuple[Visit, int]] = []
    while (visit := coming.upcoming()) is not None or here:
        if visit is None or (here and data.draw(st.booleans())):
            leaving = here.pop(data.draw(st.integers(0, len(here) - 1)))
            end = leaving.arrival + data.draw(st.integers(0, 10_000))
            coming.closed(end)
            ended.append((leaving, end))
        else:
            coming.started()
            here.append(visit)
    assert coming.exhausted()
    return ended


@given(several(), st.integers(0, 10_000), st.data())
def test_each_part_begins_after_the_last_has_ended(
    given_parts: list[Part], delay: int, data: st.DataObject
) -> None:
    """And after what its last episode wrote can be known: end + delay < arrival, as early as so."""
    ended = lived(arrivals(given_parts, delay=delay, stream=stream()), data)
    everybody = [visitor for part in given_parts for visitor in part.visitors]
    assert sorted((visit.user, visit.session) for visit, _ in ended) == everybody
    by_part: list[list[tuple[Visit, int]]] = [[] for _ in given_parts]
    for visit, end in ended:
        by_part[visit.user // 100].append((visit, end))
    for place, (before, after) in enumerate(pairwise(by_part), 1):
        begin = max(end for _, end in before) + delay + 1
        first = min(visit.arrival for visit, _ in after)
        assert first >= begin
        assert first == begin or given_parts[place].rule.startswith("poisson")


@given(several(), st.data())
def test_nobody_is_known_to_come_while_the_last_part_goes_on(
    given_parts: list[Part], data: st.DataObject
) -> None:
    """What the next part may know is not certain before; asking changes nothing."""
    coming = arrivals(given_parts, delay=0, stream=stream())
    here = 0
    for part in given_parts:
        left = len(part.visitors)
        while left or here:
            visit = coming.upcoming()
            assert coming.upcoming() is visit
            if visit is None:
                assert here
                coming.closed(data.draw(st.integers(0, 10_000)))
                here -= 1
            else:
                assert (visit.user, visit.session) in part.visitors
                coming.started()
                here, left = here + 1, left - 1
                assert coming.exhausted() == (not left and part is given_parts[-1])


@pytest.mark.parametrize("rules", [("some", "all"), ("all", "batches:0"), ("all", "poisson:x")])
def test_a_rule_that_is_none_is_refused_in_any_part(rules: Sequence[str]) -> None:
    """Before the first visit, not when its part is to begin."""
    with pytest.raises(ConfigError, match="arrivals cannot be"):
        arrivals([Part(rule, [(0, 0)]) for rule in rules], delay=0, stream=stream())


# -- whole runs


@dataclass(frozen=True)
class Whole:
    """A run that nobody broke off, and the calls that it took."""

    directory: RunDirectory
    trace: Trace
    asked: set[Call]

    @property
    def digest(self) -> str:
        return digest(self.directory)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Whole]:
    found = {}
    for name, how in WORLDS.items():
        model = Counted()
        directory = recorded(tmp_path_factory.mktemp(name) / "run", model, **how)
        found[name] = Whole(directory, trace_of(directory), {*model.asked})
    return found


@pytest.fixture
def whole(runs: dict[str, Whole], name: str) -> Whole:
    return runs[name]


def digest(directory: RunDirectory) -> str:
    return str(directory.read_summary()["digest"])


def rounds(trace: Trace) -> list[list[EpisodeStarted]]:
    """Return the episodes, part by part."""
    found: list[list[EpisodeStarted]] = []
    for start in only(trace, EpisodeStarted):
        if not found or found[-1][0].phase != start.phase:
            found.append([])
        found[-1].append(start)
    return found


def writers(trace: Trace) -> set[str]:
    """Return the phases of the episodes that wrote into a memory."""
    phases = [start.phase for start in only(trace, EpisodeStarted)]
    return {
        phases[envelope.episode]
        for envelope in trace
        if isinstance(envelope.message, MemoryWritten) and envelope.episode is not None
    }


@of_every_world
def test_a_run_goes_through_its_parts_in_order(name: str, whole: Whole) -> None:
    """Every visit that was planned, with its phase and whether it teaches, in the trace."""
    trace = whole.trace
    config = settings(**WORLDS[name])
    told = [
        (part[0].phase, part[0].teaching, sorted((start.user, start.session) for start in part))
        for part in rounds(trace)
    ]
    assert told == [
        (part.phase, part.teaching, sorted(part.visitors)) for part in parts(config, synthetic())
    ]
    assert only(trace, RunEnded) == [RunEnded(episodes=config.visits, failed=0)]


@of_every_world
def test_parts_do_not_overlap(name: str, whole: Whole) -> None:
    """In virtual time: the first of a part arrives after everything in the last, and the delay."""
    trace = whole.trace
    delay = 1_000 * WORLDS[name].get("publication_delay", 0)
    count = 0
    for before, after in pairwise(rounds(trace)):
        numbers = range(count, count + len(before))
        count += len(before)
        latest = max(envelope.time for envelope in trace if envelope.episode in numbers)
        assert min(start.arrival for start in after) > latest + delay


@pytest.mark.parametrize("name", ["frozen", "curve", "poisson"])
def test_a_frozen_test_teaches_nothing(name: str, whole: Whole) -> None:
    """It writes nothing; all its users know the same, and so do those who train next."""
    trace = whole.trace
    assert writers(trace) == {"train"}
    found = rounds(trace)
    for place, part in enumerate(found):
        if part[0].phase == "test":
            assert {start.memories for start in part} == {part[0].memories}
            assert all(after[0].memories == part[0].memories for after in found[place + 1 :][:1])


@pytest.mark.parametrize("name", ["curve", "poisson"])
def test_each_round_of_a_curve_knows_more_than_the_last(name: str, whole: Whole) -> None:
    """The first knows nothing, the last all that training left."""
    tests = [part[0].memories for part in rounds(whole.trace) if part[0].phase == "test"]
    lengths = [[one.length for one in memories] for memories in tests]
    assert lengths[0] == [0, 0, 0]
    for before, after in pairwise(lengths):
        assert all(b < a for b, a in zip(before, after, strict=True))
    written = only(whole.trace, MemoryWritten)
    memories = [one.memory for one in tests[-1]]
    assert lengths[-1] == [sum(w.count for w in written if w.memory == m) for m in memories]


def test_a_learning_test_goes_on_learning(runs: dict[str, Whole]) -> None:
    """Batch by batch its users know more."""
    trace = runs["learning"].trace
    assert writers(trace) == {"train", "test"}
    lengths = [start.memories[0].length for start in rounds(trace)[1]]
    assert lengths == [6, 6, 8, 8, 10]


@pytest.mark.parametrize("name", ["frozen", "curve"])
def test_training_is_the_same_with_a_test_and_without(whole: Whole, tmp_path: Path) -> None:
    """A test only looks: what is recommended and learned in training is the same without it."""
    plain = trace_of(recorded(tmp_path / "run"))
    assert trained(whole.trace) == trained(plain)


def trained(trace: Trace) -> list[tuple[list[int], list[str]]]:
    """Return the items and the reflection of every training episode."""
    phases = [start.phase for start in only(trace, EpisodeStarted)]
    parts_of = [[e for e in trace if e.episode == number] for number in range(len(phases))]
    return [
        ([a.item for a in only(part, ActionTaken)], [r.text for r in only(part, ReflectionWritten)])
        for part, phase in zip(parts_of, phases, strict=True)
        if phase == "train"
    ]


@of_every_world
@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_concurrency_leaves_no_mark_on_tests(
    name: str, whole: Whole, concurrency: int, tmp_path: Path
) -> None:
    """Training and tests never run side by side in a way that shows."""
    how = {**WORLDS[name], "concurrency": concurrency}
    assert digest(recorded(tmp_path / "run", **how)) == whole.digest


@of_every_world
def test_a_run_with_tests_replays(whole: Whole) -> None:
    """To the same bytes, at another concurrency."""
    told = replay(whole.directory.path, concurrency=3, environment=synthetic())
    assert (told.agrees, told.whole, told.finished) == (True, True, True)


@of_every_world
def test_an_episode_of_a_test_replays_alone(name: str, whole: Whole) -> None:
    """The last of all is one: its phase, and whether it teaches, come from the trace."""
    last = settings(**WORLDS[name]).visits - 1
    told = replay(whole.directory.path, episode=last, environment=synthetic())
    assert (told.agrees, told.whole) == (True, True)


@of_every_world
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_run_with_tests_is_resumed(name: str, whole: Whole, share: float, tmp_path: Path) -> None:
    """Broken off in training or in a test, it comes to the same end, and asks nothing twice."""
    first, second = Counted(last=round(share * len(whole.asked))), Counted()
    with pytest.raises(ServiceError, match="gone"):
        recorded(tmp_path / "run", first, **WORLDS[name])
    resume(tmp_path / "run", model=second, environment=synthetic())
    assert digest(RunDirectory(tmp_path / "run")) == whole.digest
    assert {*first.asked} | {*second.asked} == whole.asked
    assert not {*first.asked} & {*second.asked}


# -- settings that cannot be used


@pytest.mark.parametrize(
    ("how", "why", "hint"),
    [
        ({"test_every": 2}, "test_every needs test_episodes", "test_episodes=100"),
        (
            {"share_limits": "x"},
            "share_limits needs limits a minute to share",
            "requests_per_minute=500",
        ),
        (
            {"test_episodes": 2, "users": "all"},
            "users that are tested must not be trained on as well",
            "train",
        ),
        (
            {"test_episodes": 2, "users": "test"},
            "users that are tested must not be trained on as well",
            "train",
        ),
        (
            {"test_episodes": 2, "sessions": 2, "arrivals": "all"},
            "a test does not go with returning users",
            "sessions=1",
        ),
        (
            {"test_episodes": 2, "test_every": 2, "test_memory": "learning"},
            "a learning curve is not one if its tests teach",
            "test_memory=frozen",
        ),
        (
            {"test_episodes": -1},
            "test_episodes: expected int >= 0, got -1",
            "test_episodes=0",
        ),
        (
            {"test_episodes": 2, "test_memory": "thawed"},
            "test_memory: expected one of frozen, learning, got 'thawed'",
            "test_memory=frozen",
        ),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(how: dict[str, Any], why: str, hint: str) -> None:
    """It says what does not go, and the hint what would."""
    with pytest.raises(ConfigError) as caught:
        settings(**how)
    assert str(caught.value) == why
    assert hint in caught.value.hint


def test_a_world_without_test_users_is_refused(tmp_path: Path) -> None:
    """Before anything is written."""
    untested = world((TRAIN, LIKED), (TRAIN, RATED))
    config = settings(test_episodes=2, limit=3)
    with pytest.raises(ConfigError, match="the environment has no test users") as caught:
        run(config, out=tmp_path / "run", environment=untested)
    assert "--test-share" in caught.value.hint
    assert not (tmp_path / "run").exists()
