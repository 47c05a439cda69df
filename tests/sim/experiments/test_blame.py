"""`sim.experiments.blame`: what episodes owe their course to, on a small run and planted ones."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.embeddings import HashingEmbedder
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatModel
from engine.errors import ConfigError, DivergenceError, RunDirectoryError, ServiceError, TraceError
from engine.messages import EpisodeEnded, StateValued
from sim.experiments.blame.blaming import Plan, blame, blame_async, planned
from sim.experiments.blame.causes import Cause, most_recalled
from sim.experiments.blame.cost import cost_of
from sim.experiments.blame.findings import Asked, Blame
from sim.experiments.blame.ranking import (
    Contrast,
    Effect,
    adjusted,
    decisions,
    differences,
    effect_of,
    ranked,
)
from sim.experiments.blame.replays import (
    FIRST,
    NEVER,
    Arm,
    Outcome,
    Replayer,
    Split,
    steps_of,
)
from sim.runs.fork import fork
from storage.runs import RunDirectory
from storage.traces import read_episode
from tests.support.shell import tree
from tests.support.small import Counted, Failing, only, recorded, synthetic, trace_of

FEW = Asked(draws=2, leading=2)
EPISODE = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A recorded run; nobody writes to it."""
    return recorded(tmp_path_factory.mktemp("recorded") / "run")


@dataclass(frozen=True)
class Watched:
    """What was *found*, what of it was *told* meanwhile, and the run's files *before* and *after*.

    A module asks once: it takes seconds.
    """

    found: Blame
    told: list[tuple[int, int]]
    before: dict[str, bytes | None]
    after: dict[str, bytes | None]


@pytest.fixture(scope="module")
def watched(run: RunDirectory) -> Watched:
    """What its last episode owes its course to."""
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))

    before = tree(run.path)
    found = blame(run.path, EPISODE, asked=FEW, environment=synthetic(), progress=progress)
    return Watched(found, told, before, tree(run.path))


@pytest.fixture(scope="module")
def found(watched: Watched) -> Blame:
    return watched.found


def plan_of(run: RunDirectory, episode: int = EPISODE) -> Plan:
    return planned(run.path, episode, FEW, environment=synthetic())


def player_of(plan: Plan, model: ChatModel | None = None) -> Replayer:
    return plan.replayed(model=model or EmbeddedModel(), embedder=HashingEmbedder())


def played(player: Replayer, arm: Arm, seed: int = 3) -> Outcome:
    return asyncio.run(player.play(arm, seed))


def cause() -> Cause:
    return Cause(kind="recommendation", step=0, says="")


# -- causes


def test_decisions_and_what_was_recalled_are_causes(run: RunDirectory) -> None:
    """A thought and an item for each step, in order, then records with the words they say."""
    causes = plan_of(run).causes
    made = [(one.kind, one.step) for one in causes if one.kind != "record"]
    length = only(trace_of(run), EpisodeEnded)[EPISODE].length
    assert made == [(kind, n) for n in range(length) for kind in ("thought", "recommendation")]
    records = causes[len(made) :]
    assert {one.memory for one in records} <= {"planner", "actor"}
    assert all(one.says and one.recalls and one.taught in range(EPISODE) for one in records)


def test_what_the_critic_recalled_is_no_cause(run: RunDirectory) -> None:
    """It values states beside the main line: no user ever felt it."""
    messages = [one.message for one in read_episode(run.trace, EPISODE)]
    assert any(m.recalled for m in messages if isinstance(m, StateValued))
    assert "critic" not in {one.memory for one in plan_of(run).causes}


def test_of_many_records_those_recalled_most_are_looked_at(run: RunDirectory) -> None:
    """Decisions stay, whatever is asked."""
    causes = plan_of(run).causes
    made = [one for one in causes if one.kind != "record"]
    recalls = sorted((one.recalls for one in causes if one.kind == "record"), reverse=True)
    few = most_recalled(causes, 2)
    assert few[: len(made)] == made
    assert sorted((one.recalls for one in few[len(made) :]), reverse=True) == recalls[:2]
    assert most_recalled(causes, 0) == made


# -- plays


def test_what_comes_before_a_split_is_not_asked_again(run: RunDirectory) -> None:
    """After the thought of step 1 its planner is not asked, its actor is."""
    model = Counted()
    outcome = played(player_of(plan_of(run), model), Arm(Split(1, after=True)))
    asked = {(call.step, call.role) for call in model.asked}
    assert (1, "actor") in asked
    assert not asked & {(0, "planner"), (0, "actor"), (1, "planner")}
    assert outcome.calls == len(model.asked)


def test_only_the_main_line_is_at_work(run: RunDirectory) -> None:
    """Neither critic nor reflector can change what the user does."""
    model = Counted()
    played(player_of(plan_of(run), model), Arm(FIRST))
    assert {call.role for call in model.asked} == {"planner", "actor"}


def test_after_all_steps_comes_what_is_recorded(run: RunDirectory) -> None:
    """By any seed, and nobody is asked."""
    plan = plan_of(run)
    reward = next(m.reward for m in plan.messages if isinstance(m, EpisodeEnded))
    model = Counted()
    assert played(player_of(plan, model), Arm(NEVER), 1 << 40) == Outcome(reward, 0, 0)
    assert not model.asked


def test_the_luck_of_users_stays_the_runs(tmp_path: Path) -> None:
    """An agent that always does the same gets the same: the draws are of nobody else's chance."""
    run = recorded(tmp_path / "run", agent="greedy", quit_rule="hazard")
    player = player_of(plan_of(run))
    outcomes = {played(player, Arm(FIRST), seed).reward for seed in range(8)}
    assert len(outcomes) == 1


def test_another_past_is_noticed(run: RunDirectory) -> None:
    plan = plan_of(run)
    with pytest.raises(DivergenceError, match="does not come out as it is recorded"):
        asyncio.run(player_of(plan).check([(0, 1.0)]))


def test_a_record_parts_where_it_is_told_first(run: RunDirectory) -> None:
    """A reflection before the thought that recalled it; what changes no prompt parts nowhere."""
    plan = plan_of(run)
    steps = steps_of(plan.messages)
    told = next(one for one in plan.causes if one.memory == "planner")
    player = player_of(plan)
    assert asyncio.run(player.parting(("planner", told.position or 0), steps)) == Split(told.step)
    assert asyncio.run(player.parting(("critic", 0), steps)) == NEVER


def test_what_was_said_in_a_fork_is_not_said_again(run: RunDirectory, tmp_path: Path) -> None:
    """Drawn anew, the forced item is what the actor would have taken."""
    title = synthetic().catalog.titles[7]
    said = {"actor": f"recommend[{title}]"}
    fork(run.path, (EPISODE, 1), say=said, out=tmp_path / "fork", environment=synthetic())
    found = blame(tmp_path / "fork", EPISODE, asked=FEW, environment=synthetic())
    causes = [(one.cause.kind, one.cause.step, one.cause.says) for one in found.causes]
    assert ("recommendation", 1, title) in causes
    plan = planned(tmp_path / "fork", EPISODE, FEW, environment=synthetic())
    model = Counted()
    played(player_of(plan, model), Arm(Split(1, after=True)))
    assert ("actor", 1) in {(call.role, call.step) for call in model.asked}


# -- effects


def test_decisions_add_up_to_what_was_expected_less_what_came(run: RunDirectory) -> None:
    """Under each draw: what one decision leaves off at the next one begins with."""
    plan = plan_of(run)
    contrasts = decisions([one for one in plan.causes if one.kind != "record"])
    plays = plan.plays(player_of(plan))
    arms = [one.changed for one in contrasts]
    asyncio.run(plays.make(arms, range(2)))
    for draw in range(2):
        effects = [differences(one, plays.outcomes, [draw])[0] for one in contrasts]
        first = plays.outcomes[Arm(FIRST), draw].reward
        assert first is not None
        assert sum(effects) == pytest.approx(first - plays.reward)


def outcomes(
    changed: Sequence[float | None], kept: Sequence[float]
) -> dict[tuple[Arm, int], Outcome]:
    pairs = [(Arm(FIRST), changed), (Arm(Split(1)), kept)]
    return {
        (arm, draw): Outcome(reward, 2, 10)
        for arm, rewards in pairs
        for draw, reward in enumerate(rewards)
    }


def test_an_effect_is_that_of_pairs() -> None:
    """By hand: 3, 5 and 4 have mean 4, and t of 2 degrees is 4.303; a failed play is no pair."""
    contrast = Contrast(cause(), Arm(FIRST), Arm(Split(1)))
    table = outcomes([4, 7, 7, None], [1, 2, 3, 4])
    told = effect_of(contrast, table, range(4), leading=True)
    assert (told.effect, told.draws, told.calls) == (4, 3, 8)
    assert told.low == pytest.approx(4 - 4.30265 / 3**0.5, rel=1e-5)
    assert told.p == pytest.approx(0.0202, rel=0.01)


def effect(size: float | None, p: float | None = None) -> Effect:
    leading = p is not None
    return Effect(cause=cause(), effect=size, low=0, high=0, draws=2, p=p, leading=leading)


def test_what_does_most_harm_stands_first() -> None:
    """Of what nothing is known stands last."""
    ranks = ranked([effect(None), effect(-2.0), effect(9.0), effect(3.0)])
    assert [one.effect for one in ranks] == [9.0, 3.0, -2.0, None]


def test_p_is_for_all_that_lead_together() -> None:
    """As Holm has it: twice the smaller one, and the larger as it is."""
    told = adjusted([effect(3.0, 0.01), effect(2.0, 0.04), effect(1.0)])
    assert [one.p for one in told] == [0.02, 0.04, None]


# -- as a whole


def test_the_same_seed_says_the_same(run: RunDirectory, found: Blame) -> None:
    """In a loop that runs already, too; another seed draws others."""
    world = synthetic()
    again = asyncio.run(blame_async(run.path, EPISODE, asked=FEW, environment=world))
    assert again == found
    asked = Asked(draws=2, leading=2, seed=9)
    other = blame(run.path, EPISODE, asked=asked, environment=world)
    assert other.causes != found.causes


def test_nothing_is_written_to_the_run(watched: Watched) -> None:
    assert watched.after == watched.before


def test_progress_is_told_to_the_end(watched: Watched) -> None:
    """Of as many plays as there are, which the last round knows."""
    plays = watched.found.plays
    assert [done for done, _ in watched.told] == [*range(1, plays + 1)]
    assert watched.told[-1] == (plays, plays)


def test_a_dry_run_tells_what_is_asked(run: RunDirectory, found: Blame) -> None:
    """With the embedded model exactly that, and never more than at most."""
    cost = asyncio.run(cost_of(plan_of(run)))
    assert (cost.calls, cost.plays, cost.causes) == (found.calls, found.plays, len(found.causes))
    assert cost.calls <= cost.most


def test_a_budget_ends_it_with_what_is_known(run: RunDirectory) -> None:
    limits = [{"max_calls": 60}]
    found = blame(run.path, EPISODE, asked=FEW, environment=synthetic(), settings=limits)
    assert found.spent
    assert found.calls <= 60
    assert len(found.causes) == len(plan_of(run).causes)


def test_an_episode_of_one_step(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", limit=1)
    found = blame(run.path, 0, asked=FEW, environment=synthetic())
    assert (found.length, found.reason) == (1, "limit")
    assert {one.cause.step for one in found.causes} == {0}


@pytest.mark.parametrize("agent", ["random", "greedy", "reflexion", "linucb", "act-only"])
def test_other_agents_have_their_causes(agent: str, tmp_path: Path) -> None:
    """Those without a model cost nothing; those that leave nothing to chance change nothing."""
    run = recorded(tmp_path / "run", agent=agent)
    found = blame(run.path, EPISODE, asked=FEW, environment=synthetic())
    kinds = {one.cause.kind for one in found.causes}
    assert "recommendation" in kinds
    assert ("thought" in kinds) == (agent == "reflexion")
    assert bool(found.calls) == (agent in {"reflexion", "act-only"})
    if agent == "greedy":
        assert {one.effect for one in found.causes} == {0.0}


# -- what it refuses


def test_a_run_that_has_not_ended(tmp_path: Path) -> None:
    with pytest.raises(ServiceError):
        recorded(tmp_path / "run", Counted(last=60))
    with pytest.raises(RunDirectoryError, match="has not come to its end"):
        blame(tmp_path / "run", 0, environment=synthetic())


def test_an_episode_that_failed(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", Failing(episode=1))
    with pytest.raises(ConfigError, match="episode 1 failed"):
        blame(run.path, 1, environment=synthetic())


def test_an_episode_that_is_not_there(run: RunDirectory) -> None:
    with pytest.raises(TraceError, match="there is no episode 99"):
        blame(run.path, 99, environment=synthetic())


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (Asked(draws=1), "expected at least 2 draws, got 1"),
        (Asked(leading=0), "expected at least 1 leading cause, got 0"),
        (Asked(ties=0), "expected ties to get at least 1 times the draws, got 0"),
        (Asked(records=-1), "expected at least 0 records, got -1"),
    ],
)
def test_too_little_is_asked(run: RunDirectory, asked: Asked, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        blame(run.path, EPISODE, asked=asked, environment=synthetic())
