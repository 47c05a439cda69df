"""The summary of a run: one flat object, whatever phases the run had."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.models.access import Usage
from engine.messages import ActionTaken, Envelope, EpisodeStarted, RunStarted, UserResponded
from sim.metrics.metrics import Measured, Metrics, MetricsFollower
from sim.metrics.summary import Effort, Summary, summarise
from storage.environments import Environment
from storage.runs import RunDirectory
from storage.traces import read_trace
from tests.support.small import recorded, synthetic, trace_of

TESTS = {"train", "test_memory", "curve"}


@pytest.fixture(scope="module")
def curved(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with a test of three users before, between and after six training episodes."""
    out = tmp_path_factory.mktemp("curved") / "run"
    prices = {"embedded": {"prompt": 2.0, "completion": 4.0}}
    return recorded(out, test_episodes=3, test_every=3, prices=prices)


def refollowed(run: RunDirectory, environment: Environment) -> Measured:
    """Return the metrics of a recorded trace."""
    follower = MetricsFollower(environment.catalog, environment.factors)
    envelopes: Iterator[Envelope[Any]] = read_trace(run.trace)
    for envelope in envelopes:
        follower(envelope)
    return follower.measured()


def summed(*, usage: Usage, cost: float = 0.0, episodes: int = 4, rewards: float = 20.0) -> Summary:
    """Return the summary of a run that came to so much."""
    metrics = MetricsFollower(synthetic().catalog).result()
    settings = (("repeats", "allow"), ("test_memory", "frozen"))
    return summarise(
        RunStarted(schema=1, agent="a", model="m", environment="e", seed=0, settings=settings),
        run="run",
        environment="e",
        digest="d",
        measured=Measured(
            main=metrics, train=None, curve=(), episodes=episodes, steps=9, rewards=rewards
        ),
        usage=usage,
        effort=Effort(messages=9, seconds=1.0, utilization=0.5, cached=0, cost=cost),
        listeners={},
    )


def told(run: RunDirectory) -> dict[str, Any]:
    return dict(run.read_summary())


# -- tests


def test_without_a_test_nothing_is_said_of_tests(tmp_path: Path) -> None:
    """Metrics stand beside the rest, and there are no others."""
    found = told(recorded(tmp_path / "run"))
    assert not TESTS & found.keys()
    assert found.keys() >= set(Metrics.__struct_fields__)
    assert (found["all_episodes"], found["all_steps"]) == (found["episodes"], found["steps"])


def test_the_last_test_is_at_the_top(curved: RunDirectory) -> None:
    """With the training as an object of its own, and a curve of all tests."""
    found = told(curved)
    assert (found["episodes"], found["train"]["episodes"], found["all_episodes"]) == (3, 6, 15)
    assert found["test_memory"] == "frozen"
    assert [(one["trained"], one["episodes"]) for one in found["curve"]] == [(0, 3), (3, 3), (6, 3)]
    last = {name: found[name] for name in ("episodes", "len", "r_each", "r_traj")}
    assert found["curve"][-1] == {"trained": 6, **last}


def test_a_single_test_is_no_curve(tmp_path: Path) -> None:
    found = told(recorded(tmp_path / "run", test_episodes=2, test_memory="learning"))
    assert TESTS & found.keys() == {"train", "test_memory"}
    assert (found["episodes"], found["test_memory"]) == (2, "learning")


def test_a_trace_says_the_same_as_its_run(curved: RunDirectory) -> None:
    """Read from the disk, it comes to the same metrics."""
    again = json.loads(msgspec.json.encode(refollowed(curved, synthetic())))
    found = told(curved)
    assert again["main"] == {name: found[name] for name in again["main"]}
    assert again["train"] == found["train"]
    assert again["curve"] == found["curve"]


def test_phases_are_those_of_the_trace(curved: RunDirectory) -> None:
    """Counted anew: what users got in the six training episodes."""
    phases: dict[int | None, str] = {}
    steps, rewards = 0, []
    for envelope in trace_of(curved):
        message, episode = envelope.message, envelope.episode
        if isinstance(message, EpisodeStarted):
            phases[episode] = message.phase
        elif phases.get(episode) == "train":
            steps += isinstance(message, ActionTaken)
            rewards += [message.reward] if isinstance(message, UserResponded) else []
    train = told(curved)["train"]
    assert train["steps"] == steps
    assert train["r_traj"] == pytest.approx(sum(rewards) / 6, rel=1e-5)


def test_no_name_means_two_things() -> None:
    """What is flat has room for one of each name."""
    assert not set(Metrics.__struct_fields__) & set(Summary.__struct_fields__)


# -- what it takes


def test_calls_are_told_by_episode_and_by_reward() -> None:
    """Ten calls of 300 tokens in all, for four episodes and rewards of 20."""
    usage = Usage(calls=10, prompt_tokens=250, completion_tokens=50)
    found = summed(usage=usage, cost=0.5)
    assert (found.calls_per_episode, found.tokens_per_episode) == (2.5, 75.0)
    assert (found.cost_per_episode, found.cost_per_reward) == (0.125, 0.025)
    assert found.tokens_per_reward == 15.0


def test_who_asks_no_model_spends_nothing() -> None:
    """Neither per episode nor where there is none."""
    for found in (summed(usage=Usage()), summed(usage=Usage(), episodes=0, rewards=0.0)):
        assert (found.calls_per_episode, found.tokens_per_episode) == (0, 0)
        assert (found.tokens_per_reward, found.cost_per_reward) == (0, 0)


@pytest.mark.parametrize("rewards", [0.0, -3.0])
def test_what_gains_nothing_has_no_price(rewards: float) -> None:
    """To say that it is free would be the opposite of the truth."""
    found = summed(usage=Usage(calls=1, prompt_tokens=9), cost=1.0, episodes=0, rewards=rewards)
    assert (found.tokens_per_episode, found.tokens_per_reward) == (None, None)
    assert (found.cost_per_episode, found.cost_per_reward) == (None, None)


def test_costs_are_those_of_the_whole_run(curved: RunDirectory) -> None:
    """All its calls, by all its episodes: those of the training, and of every test."""
    found = told(curved)
    assert found["calls_per_episode"] == pytest.approx(found["calls"] / 15, rel=1e-5)
    whole = found["cost_per_episode"] * found["all_episodes"]
    assert whole == pytest.approx(found["cost"], rel=1e-5)
    per_traj = found["tokens_per_episode"] / found["tokens_per_reward"]
    rewards = refollowed(curved, synthetic()).rewards
    assert per_traj == pytest.approx(rewards / 15, rel=1e-5)
