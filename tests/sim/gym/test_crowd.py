"""Many visits at once are as the visits of a run, one by one, bit for bit."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.chance import chance
from engine.errors import ConfigError
from sim.config.layers import configured
from sim.config.run import Settings
from sim.gym.crowd import Crowd
from sim.gym.episode import Episode
from sim.gym.past import Whole
from sim.runs.visitors import users_of
from sim.world.quitting.billp import BILLP
from tests.sim.gym.played import LIMIT, OURS, PATIENT, PLAIN, RULES, SMALL, Played, played

EVERYBODY = range(len(SMALL.users))
HOW: Settings = {"limit": LIMIT, "seed": 5}


def crowd(*more: Settings, users: int = 3) -> Crowd:
    found = Crowd(SMALL, configured(HOW, *more), EVERYBODY)
    found.begin(np.arange(users))
    return found


def choices(seed: int, crowd: Crowd) -> Whole:
    """Return items by chance, which were not shown."""
    drawn = (
        chance(seed, user, 0, int(crowd.steps[user]), "test") for user in range(len(crowd.users))
    )
    rows = [np.flatnonzero(~shown).tolist() for shown in crowd.shown]
    return np.array([stream.choice(row) for stream, row in zip(drawn, rows, strict=True)])


def taken_again(run: Played) -> list[list[tuple[float, bool]]]:
    """Return what users say in a crowd to the actions of a run: rewards, and who left."""
    ours = Crowd(SMALL, run.config)
    ours.begin(np.array([v.user for v in run.visits]), np.array([v.session for v in run.visits]))
    said: list[list[tuple[float, bool]]] = [[] for _ in run.visits]
    for step in range(LIMIT):
        there = np.flatnonzero(~ours.over).tolist()
        items = [v.items[step] if step < len(v.items) else -1 for v in run.visits]
        came = ours.step(np.array(items))
        for row in there:
            said[row].append((float(came.rewards[row]), bool(came.left[row])))
    return said


def test_a_crowd_gets_what_a_run_gets(run: Played) -> None:
    """The same actions give the same rewards and lengths, whatever the rules and their chance."""
    heard = [[(one.reward, one.left) for one in visit.said] for visit in run.visits]
    assert taken_again(run) == heard


@settings(deadline=None, max_examples=20)
@given(
    rules=st.sampled_from(RULES),
    offset=st.floats(-1, 1),
    strength=st.floats(0, 2),
    recovery=st.floats(0, 1),
    drift=st.floats(0, 1),
    seed=st.integers(0, 1_000),
)
def test_all_at_once_is_one_by_one(
    rules: Settings, offset: float, strength: float, recovery: float, drift: float, seed: int
) -> None:
    """Whatever changes rewards, each visit goes as it does alone."""
    changes = {"offset": offset, "satiation": [0, strength], "recovery": recovery, "drift": drift}
    ours = crowd(rules, {"rewards": changes, "quit": {}}, users=10)
    users = users_of(ours.config, SMALL)
    alone = [Episode(users, ours.config.seed, user, 0) for user in range(10)]
    while not ours.over.all():
        over, items = ours.over.copy(), choices(seed, ours)
        came = ours.step(items)
        for user in np.flatnonzero(~over).tolist():
            response = alone[user].take(int(items[user]))
            assert (came.rewards[user], came.left[user]) == (response.reward, response.left)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    rules=st.sampled_from(RULES),
    changes=st.fixed_dictionaries(
        {
            "offset": st.floats(-1, 1),
            "satiation": st.tuples(st.just(0.0), st.floats(0, 2)),
            "recovery": st.floats(0, 1),
            "drift": st.floats(0, 1),
        }
    ),
    seed=st.integers(0, 1 << 40),
)
def test_any_run_is_played_again(rules: Settings, changes: Settings, seed: int) -> None:
    """By whatever rules, changes of rewards and seed: bit for bit."""
    with TemporaryDirectory() as place:
        run = played(Path(place) / "run", {**rules, "rewards": changes, "seed": seed})
    assert taken_again(run) == [[(one.reward, one.left) for one in v.said] for v in run.visits]


def test_who_left_is_left_alone() -> None:
    """A visit that is over gets nothing more, and nothing of it changes."""
    ours = crowd(PLAIN, {"quit": {"lowest": 6.0}})
    assert ours.step(np.array([1, 2, 3])).left.all()
    again = ours.step(np.array([1, 2, 3]))
    assert not np.concatenate([again.rewards, again.left, again.truncated]).any()
    assert ours.steps.tolist() == [1, 1, 1]


def test_the_limit_truncates_who_stays() -> None:
    """And is not what made a user leave who leaves at the last step."""
    ours = crowd(PATIENT, {"limit": 2})
    assert not ours.step(np.array([1, 2, 3])).truncated.any()
    came = ours.step(np.array([2, 3, 4]))
    assert came.truncated.all()
    assert not came.left.any()


def test_a_visit_begins_in_the_place_of_another() -> None:
    """The others go on, and a user who comes again does so in a session of its own."""
    ours = crowd(PATIENT)
    ours.step(np.array([1, 2, 3]))
    ours.restart(np.array([False, True, False]), np.array([2]))
    assert (ours.users.tolist(), ours.sessions.tolist()) == ([0, 2, 2], [0, 1, 0])
    assert (ours.steps.tolist(), ours.shown.sum(axis=1).tolist()) == ([1, 0, 1], [1, 0, 1])
    items, rewards = ours.recent(2)
    assert items.tolist() == [[-1, 1], [-1, -1], [-1, 3]]
    assert (rewards[:, 0] == 0).all()


def test_a_place_that_is_taken_again_starts_afresh() -> None:
    """Neither what its last user met nor how taste moved stays behind."""
    rules = {**OURS, "rewards": {"satiation": [0.6, 0.6], "drift": 0.5}, "quit": {"quantile": 0.0}}
    ours, fresh = crowd(rules), crowd(rules)
    ours.step(np.array([1, 2, 3]))
    ours.restart(np.ones(3, np.bool_), np.arange(3))
    for items in ([4, 5, 6], [7, 8, 9]):
        here, there = ours.step(np.array(items)), fresh.step(np.array(items))
        assert here.rewards.tolist() == there.rewards.tolist()


def test_long_visits_are_kept_whole() -> None:
    ours = crowd(PATIENT, {"limit": 100}, users=1)
    for item in range(100):
        ours.step(np.array([item]))
    assert ours.recent(100)[0].tolist() == [list(range(100))]


def test_learners_cannot_meet_who_tests_them() -> None:
    """Unless one says who may come, training users do."""
    ours = Crowd(SMALL, configured(HOW))
    ours.begin(SMALL.train_users)
    with pytest.raises(ConfigError, match=f"user {SMALL.test_users[0]} may not visit"):
        ours.begin(SMALL.test_users)


NEVER = replace(BILLP, why=lambda _, __: None)


def test_a_rule_of_ones_own_is_asked() -> None:
    """Also where its settings are those of one that is counted together."""
    ours = crowd({**PLAIN, "quit_rule": f"{__name__}:NEVER", "quit": {"lowest": 6.0}})
    assert not ours.step(np.array([1, 2, 3])).left.any()


@pytest.mark.parametrize("items", [np.arange(4), np.arange(3.0), np.zeros((3, 1), np.int64)])
def test_there_is_an_item_for_each_visit(items: Whole) -> None:
    with pytest.raises(ConfigError, match="expected 3 items, by their positions"):
        crowd().step(items)


@pytest.mark.parametrize(
    ("items", "what"), [([1, 2, 200], "from 0 to 199, got 200"), ([1, 2, -1], "got -1")]
)
def test_what_is_no_item_is_said(items: list[int], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        crowd(PLAIN).step(np.array(items))


def test_what_was_shown_is_not_available() -> None:
    """Unless repeats are allowed."""
    for repeats in ("forbid", "avoid"):
        ours = crowd(PATIENT, {"repeats": repeats})
        ours.step(np.array([1, 2, 3]))
        with pytest.raises(ConfigError, match="item 2 was shown in this visit before"):
            ours.step(np.array([2, 2, 4]))
    ours = crowd(PATIENT, {"repeats": "allow"})
    ours.step(np.array([1, 2, 3]))
    assert ours.step(np.array([1, 2, 3])).rewards.all()
