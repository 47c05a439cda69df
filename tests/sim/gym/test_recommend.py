"""`billp/Recommend-v0`: what Gymnasium asks, and that a visit in it is one of a run."""

import sys
from typing import Any

import gymnasium
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Dict, Discrete
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FlattenObservation

import sim.gym
from engine.errors import ConfigError
from sim.config.run import Settings
from sim.gym import Recommend
from tests.sim.gym.played import LIMIT, OURS, PATIENT, PLAIN, SMALL, Played


def patient(more: Settings | None = None, **how: Any) -> Recommend:
    """Return an environment in which nobody leaves, and a user in it."""
    env = Recommend(SMALL, {**PATIENT, "limit": 3, **(more or {})}, **how)
    env.reset(seed=0)
    return env


def test_a_visit_is_that_of_a_run(run: Played) -> None:
    """The same actions give the same rewards and the same end, whatever the rules."""
    env = Recommend(SMALL, run.config)
    for visit in run.visits:
        env.reset(options={"user": visit.user, "session": visit.session})
        for item, said in zip(visit.items, visit.said, strict=True):
            _, reward, terminated, truncated, info = env.step(item)
            assert (reward, terminated, info.get("reason")) == (said.reward, said.left, said.reason)
        assert terminated or truncated
        assert truncated == (not terminated and len(visit.items) == LIMIT)


@pytest.mark.parametrize("rules", [PLAIN, OURS, {**PLAIN, "quit_rule": "hazard"}])
def test_the_checker_of_gymnasium_is_content(rules: Settings) -> None:
    """Warnings of it are errors here."""
    check_env(gymnasium.make("billp/Recommend-v0", environment=SMALL, config=rules).unwrapped)


def test_gymnasium_makes_it_by_its_name() -> None:
    """The name of its module before it makes it known."""
    env = gymnasium.make("sim.gym:billp/Recommend-v0", environment="synthetic", recent=2)
    assert env.action_space == Discrete(2_000)
    assert isinstance(env.observation_space, Dict)
    assert env.observation_space["items"].shape == (2,)


def test_a_seed_draws_the_user_and_the_session() -> None:
    """The same again, others without it: of those who train, or of those whom the settings name."""
    env, tests = Recommend(SMALL), Recommend(SMALL, {"users": "test"})
    first = env.reset(seed=3)[1]
    others = [env.reset()[1]["user"] for _ in range(200)]
    again = env.reset(seed=3)[1]
    assert (first["user"], first["session"]) == (again["user"], again["session"])
    assert set(others) == set(SMALL.train_users.tolist())
    assert {tests.reset()[1]["user"] for _ in range(200)} == set(SMALL.test_users.tolist())


def test_what_is_observed_is_the_visit_so_far() -> None:
    """The newest last, and nothing before the first."""
    env = patient(recent=2)
    rewards = [env.step(item)[1] for item in (5, 6)]
    seen, reward, terminated, truncated, _ = env.step(7)
    assert (seen["items"].tolist(), seen["shown"].tolist()) == ([6, 7], [5, 6, 7])
    assert seen["rewards"].tolist() == [rewards[1], reward]
    assert (seen["step"].tolist(), terminated, truncated) == ([3], False, True)
    assert env.reset()[0]["shown"].tolist() == [-1, -1, -1]


def test_the_history_is_what_a_run_shows() -> None:
    """The last items that the user met before, with their ratings."""
    env = Recommend(SMALL, {"history": 500})
    seen, _ = env.reset(options={"user": 4})
    known = SMALL.history(4, 500)
    assert seen["history"][-len(known) :].tolist() == [item for item, _ in known]
    assert seen["ratings"][-len(known) :].tolist() == [rating for _, rating in known]
    assert set(seen["history"][: -len(known)].tolist()) == {-1}


def test_the_mask_leaves_what_was_not_shown() -> None:
    """What is drawn by it is always available."""
    env = patient({"limit": 200})
    info = env.reset(seed=0)[1]
    for _ in range(200):
        info = env.step(env.action_space.sample(info["action_mask"]))[4]
    assert not info["action_mask"].any()


def test_what_was_shown_is_refused() -> None:
    """Or ends the visit, if that was asked for."""
    env, ending = patient(), patient(invalid="ends")
    env.step(5)
    with pytest.raises(InvalidAction, match="item 5 was shown in this visit before"):
        env.step(5)
    ending.step(5)
    _, reward, terminated, truncated, info = ending.step(5)
    assert (reward, terminated, truncated, info["reason"]) == (0.0, True, False, "unavailable")


def test_what_may_be_repeated_is() -> None:
    env = patient({"repeats": "allow"})
    first = env.step(5)
    again = env.step(5)
    assert first[1] == again[1]
    assert again[4]["action_mask"].all()


def test_a_visit_that_is_over_takes_nothing() -> None:
    """Nor does one that was never begun, nor what is no item."""
    with pytest.raises(ResetNeeded, match="call reset"):
        Recommend(SMALL).step(0)
    env = patient({"limit": 1})
    with pytest.raises(InvalidAction, match="from 0 to 199, got 200"):
        env.step(200)
    env.step(0)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(1)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"user": 30}, "user: expected a number from 0 to 29, got 30"),
        ({"uesr": 3}, "options are user and session, got 'uesr'"),
    ],
)
def test_who_cannot_come_is_said(options: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Recommend(SMALL).reset(options=options)


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"invalid": "stays"}, "invalid: expected 'raises' or 'ends'"),
        ({"recent": 0}, "recent: expected at least 1"),
        ({"config": {"limit": 201}}, "201 steps without repeats need as many items"),
        ({"config": {"limits": 2}}, "limits"),
    ],
)
def test_what_cannot_be_made_is_said(how: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Recommend(SMALL, **how)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """And who needs none of it goes on."""
    for name in ("recommend", "seen", "vector"):
        monkeypatch.delitem(sys.modules, f"sim.gym.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ConfigError, match="Recommend needs the extra gym"):
        _ = sim.gym.Recommend
    assert sim.gym.Crowd.__name__ == "Crowd"


def test_it_may_be_flat() -> None:
    """By Gymnasium's own wrapper: all that is observed is numbers in bounds."""
    env = FlattenObservation(Recommend(SMALL, {"limit": 5, "history": 3}))
    assert env.reset(seed=0)[0].shape == (3 + 3 + 4 + 4 + 5 + 1,)
