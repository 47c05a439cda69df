"""`billp run --dry-run`: what a run would come to, before anything is paid."""

import signal
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import ConfigError
from sim.config.layers import configured
from sim.experiments.estimate import Estimate, Plan, estimate
from sim.runs.run import run
from sim.views.estimate import estimate_page
from storage.batches import read_batches
from storage.runs import RunDirectory
from tests.support.dying import Death, billp
from tests.support.served import served
from tests.support.shell import Shell, tree
from tests.support.small import Counted

FEW: dict[str, Any] = {"episodes": 6, "limit": 6, "arrivals": "batches:3"}
PRICES = {"embedded": {"prompt": 1.0, "completion": 10.0}}


def expected(**settings: Any) -> Estimate:
    return estimate(configured(FEW, settings))


@cache
def calls() -> int:
    """How many calls the small run is expected to make."""
    return expected().calls


# -- how much


def test_a_small_run_is_tried_whole(tmp_path: Path) -> None:
    """With the embedded model it is exactly what is told: calls, tokens, cost."""
    real = run(configured(FEW, {"prices": PRICES}), out=tmp_path / "run")
    told = expected(prices=PRICES)
    assert (told.episodes, told.sample) == (6, 6)
    assert told.calls == real.calls
    assert (told.prompt_tokens, told.completion_tokens) == (
        real.prompt_tokens,
        real.completion_tokens,
    )
    assert told.cost == pytest.approx(real.cost, abs=1e-6)


def test_what_a_service_may_know_of_prompts_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """And what the calls cost then, where known tokens have a price of their own; no more is."""
    prices = {"gpt-x": {"prompt": 1.0, "completion": 10.0, "cached": 0.1}}
    told = expected(model="openai/gpt-x", prices=prices)
    assert told.known_tokens == sum(role.known_tokens for role in told.roles.values())
    assert 0.3 < told.known_tokens / told.prompt_tokens < 1
    assert told.cost is not None
    less = told.cost - 0.9 * told.known_tokens / 1_000_000
    assert told.cost_if_known == pytest.approx(less, abs=1e-6)
    assert "how an earlier prompt began" in "".join(map(str, estimate_page(told).renderables))
    assert capsys.readouterr() == ("", "")  # of a service that was never asked nothing is said


def test_tests_are_tried_as_well(tmp_path: Path) -> None:
    """Those in between, too: with what was learned until then."""
    tests = {"test_episodes": 4, "test_every": 3}
    real = run(configured(FEW, tests), out=tmp_path / "run")
    told = expected(**tests)
    assert (told.episodes, told.sample, told.calls) == (18, 18, real.calls)
    assert told.prompt_tokens == real.prompt_tokens


def test_what_is_tried_whole_has_no_error() -> None:
    """Nothing is left to chance; the page says so."""
    told = expected(test_episodes=3)
    assert told.error == 0
    assert said(told).startswith(f"All episodes were tried with the embedded model: {told.calls}")


def said(told: Estimate) -> str:
    """Return what stands below the table."""
    return next(line for line in estimate_page(told).renderables if isinstance(line, str))


@pytest.fixture
def tried_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be more than can be tried, without trying hundreds."""
    monkeypatch.setattr("sim.experiments.trial._STAGES", ((30, 1.0),))


LARGE: dict[str, Any] = {"episodes": 40, "arrivals": "batches:10"}


@pytest.mark.usefixtures("tried_few")
def test_the_rest_is_like_the_later_half(tmp_path: Path) -> None:
    """Episodes lengthen while agents learn: the first ones say little of the last."""
    model = Counted()
    settings = {**LARGE, "episodes": 30, "limit": 50}
    run(configured(settings), model=model, out=tmp_path / "run")
    later = [call for call in model.asked if call.episode >= 15]
    told = trained(1_530)
    assert (told.episodes, told.sample) == (1_530, 30)
    assert told.calls == pytest.approx(len(model.asked) + 100 * len(later), abs=4)
    assert 0 < told.error < told.calls / 2


def trained(episodes: int) -> Estimate:
    """Return what so many training episodes, of 50 steps at most, are expected to come to."""
    return expected(**{**LARGE, "episodes": episodes, "limit": 50})


@pytest.mark.usefixtures("tried_few")
def test_each_test_has_a_sample_of_its_own() -> None:
    """A hundred users more are ten times ten more, after the same training."""
    tried = of_test(20, 10)
    assert (of_test(20, 100), of_test(1_020, 100)) == pytest.approx((10 * tried, 10 * tried), abs=4)


def of_test(episodes: int, users: int) -> int:
    """Return how many calls so many users more in a test are expected to come to."""
    training = {**LARGE, "episodes": episodes, "limit": 8}
    more, less = (expected(**training, test_episodes=n).calls for n in (2 * users, users))
    return more - less


@pytest.mark.usefixtures("tried_few")
def test_an_estimate_is_near_what_a_run_makes(tmp_path: Path) -> None:
    """Within a fifth, though only a third of it was tried."""
    settings = {**LARGE, "test_episodes": 40, "limit": 20}
    real = run(configured(settings), out=tmp_path / "run")
    told = expected(**settings)
    assert (told.episodes, told.sample) == (80, 30)
    assert told.calls == pytest.approx(real.calls, rel=0.2)


@pytest.mark.usefixtures("tried_few")
def test_users_come_back_in_the_sample() -> None:
    """As often as in the run, unless that alone is too much."""
    assert expected(episodes=90, sessions=4, arrivals="all").sample == 28
    assert expected(episodes=2, sessions=300, arrivals="all").sample == 30


PATIENT = {"quit_rule": "billp", "quit": {"lowest": 0.0, "window": 0}}
HUGE: Sequence[dict[str, Any]] = (
    {"episodes": 1_000_000, "test_episodes": 1_000, "test_every": 200_000},
    {"episodes": 100_000, "limit": 150, **PATIENT},
    {"episodes": 1, "sessions": 1_000_000, "arrivals": "all"},
)


@pytest.mark.parametrize("huge", HUGE)
def test_of_a_huge_run_no_more_is_tried_than_may_be(
    huge: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is many: training, tests, steps or visits of one user."""
    monkeypatch.setattr("sim.experiments.trial._STEPS", 400)
    monkeypatch.setattr("sim.experiments.trial._CALLS", 1_600)
    told = expected(**huge)
    assert told.calls > 1_000_000
    assert told.calls * told.sample / told.episodes < 2 * 1_600


def timed(**settings: Any) -> tuple[float, int]:
    """Return for how many seconds an estimate keeps a processor busy, and the calls expected."""
    start = time.process_time()
    calls = expected(**settings).calls
    return time.process_time() - start, calls


@pytest.mark.slow
@pytest.mark.parametrize("huge", HUGE)
def test_a_huge_run_is_estimated_in_seconds(huge: dict[str, Any]) -> None:
    """What may be tried of it costs as much as a small run tried whole, some times: seconds."""
    before, _ = timed(episodes=150, arrivals="all")
    tried, calls = timed(**huge)
    after, _ = timed(episodes=150, arrivals="all")
    assert calls > 1_000_000
    assert tried < 25 * (before + after) / 2  # about one second each, where nobody else is


def test_roles_add_up() -> None:
    told = expected(prices=PRICES)
    roles = told.roles.values()
    assert set(told.roles) == {"planner", "actor", "critic", "reflector"}
    assert sum(role.calls for role in roles) == told.calls
    assert sum(role.prompt_tokens for role in roles) == told.prompt_tokens
    assert sum(role.cost or 0 for role in roles) == pytest.approx(told.cost)


def test_each_role_has_the_price_of_its_model() -> None:
    """Without a price for every model the cost is not known; the embedded one costs nothing."""
    critic = {"critic": {"model": "openai/dear"}}
    prices = {"dear": {"prompt": 100.0, "completion": 0.0}}
    told = expected(**critic, prices=prices)
    tokens = told.roles["critic"].prompt_tokens
    assert told.roles["critic"].model == "dear"
    assert told.cost == told.roles["critic"].cost == pytest.approx(tokens / 10_000)
    assert expected(**critic).cost is None
    assert expected().cost == 0.0


def test_an_agent_without_a_model_costs_nothing() -> None:
    told = expected(agent="random")
    assert (told.calls, told.cost, told.roles) == (0, 0.0, {})


# -- how long


@pytest.mark.parametrize(
    ("limits", "held_by", "seconds"),
    [
        ({"concurrency": 1}, "1 calls in flight", lambda told: 2 * told.calls),
        ({"requests_per_minute": 30}, "30 calls a minute", lambda told: 2 * told.calls),
        (
            {"tokens_per_minute": 6_000},
            "6000 tokens a minute",
            lambda told: (told.prompt_tokens + told.completion_tokens) / 100,
        ),
    ],
)
def test_time_is_told_by_what_holds_the_run_back(
    limits: dict[str, Any], held_by: str, seconds: Any
) -> None:
    told = expected(arrivals="all", **limits)
    assert told.held_by == held_by
    assert told.seconds == pytest.approx(seconds(told))


@pytest.mark.parametrize(
    ("limits", "held_by", "seconds"),
    [
        ({"concurrency": 1}, "1 calls in flight", lambda role: 2 * role.calls),
        ({"requests_per_minute": 2}, "2 calls a minute", lambda role: 30 * role.calls),
        (
            {"tokens_per_minute": 1_500_000, "requests_per_minute": 10_000},
            "1500000 tokens a minute",
            lambda role: (role.prompt_tokens + role.completion_tokens) / 25_000,
        ),
    ],
)
def test_time_is_told_by_the_limits_of_a_role(
    limits: dict[str, Any], held_by: str, seconds: Any
) -> None:
    """Only the calls of that role count against them."""
    told = expected(arrivals="all", concurrency=1_000, planner=limits)
    assert told.held_by == f"{held_by} of the planner"
    assert told.seconds == pytest.approx(seconds(told.roles["planner"]))


def test_batches_wait_for_one_another() -> None:
    """One episode after the other takes as long as all their calls that wait for each other."""
    told = expected(arrivals="batches:1")
    assert told.held_by == "batches of 1, one after the other"
    assert told.seconds > expected(arrivals="batches:3").seconds


@pytest.mark.parametrize(
    "limits", [{"requests_per_minute": 300}, {"critic": {"requests_per_minute": 60}}]
)
def test_no_limit_holds_the_estimate_back(limits: dict[str, Any]) -> None:
    """A run that would take half a minute by its limits is estimated in no time."""
    start = time.monotonic()
    assert expected(**limits).calls == calls()
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "how", [{"max_calls": 1}, {"max_tokens_total": 1}, {"max_cost": 1e-9, "prices": PRICES}]
)
def test_no_budget_holds_the_estimate_back(how: dict[str, Any]) -> None:
    """What is too dear is what one wants to know."""
    assert expected(**how).calls == calls()


# -- what it leaves alone


@pytest.fixture
def shell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return Shell(capsys)


DRY = ("run", "--dry-run", "--episodes", "6", "--set", "limit=6", "--arrivals", "batches:3")


def test_a_dry_run_asks_nobody_and_writes_nothing(shell: Shell, tmp_path: Path) -> None:
    """No service, no cache, no run directory."""
    with served() as service:
        words = (*service.words, "--cache", "cache", "--out", "run")
        told = msgspec.json.decode(shell.fine(*DRY, *words, "--json"), type=Estimate)
    assert told.calls == calls()
    assert not service.outcomes
    assert tree(tmp_path) == {}


def test_a_dry_run_needs_no_key(shell: Shell) -> None:
    """OpenAI's own models, with prices: calls, tokens, cost and time, by role and in all."""
    prices = ("--set", 'prices."gpt-4o".prompt=2.5', "--set", 'prices."gpt-4o".completion=10')
    page = shell.fine(*DRY, "--model", "openai/gpt-4o", *prices)
    told = expected(prices={"embedded": {"prompt": 2.5, "completion": 10}})
    whole = (f"{told.calls:,}", f"{told.prompt_tokens:,}", f"{told.completion_tokens:,}")
    assert [cell.strip() for cell in row(page, "all")[2:6]] == [*whole, f"{told.cost:.2f}"]
    for role in ("planner", "actor", "critic", "reflector"):
        assert row(page, role)[1].strip() == "gpt-4o"
    assert "held back by batches of 3, one after the other" in page
    assert "if a reply takes 2 s" in page


def row(page: str, name: str) -> list[str]:
    """Return the cells of the row of a table."""
    lines = [line.strip("│ ").split("│") for line in page.splitlines()]
    return next(cells for cells in lines if cells[0].strip() == name)


def test_a_cost_that_is_not_known_says_what_is_missing(shell: Shell) -> None:
    page = shell.fine(*DRY, "--model", "openai/gpt-4o")
    assert row(page, "all")[5].strip() == "–"
    assert "prices.NAME.prompt" in page


def test_a_dry_run_that_is_interrupted_is_not_to_be_resumed(tmp_path: Path) -> None:
    """There is nothing to go on with: one sentence, and no directory that is gone already."""
    death = Death("calls.jsonl", 20, number=signal.SIGINT)
    said = billp(RunDirectory(tmp_path / "run"), DRY, death)
    assert (said.status, said.out, said.err) == (130, "", "billp: interrupted\n")


# -- what is refused


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "gpt-4o"}, "there is no model 'gpt-4o'"),
        ({"critic": {"model": "gpt-4o"}}, "there is no model 'gpt-4o'"),
        ({"model": "openai/gpt-4o", "max_cost": 1}, "max_cost is set, but 'gpt-4o' has no price"),
        ({"agent": "bilp"}, "there is no agent 'bilp'"),
        ({"arrivals": "poison:1"}, "arrivals cannot be 'poison:1'"),
        ({"limit": 10_000}, "steps without repeats need as many items"),
    ],
)
def test_what_a_run_would_refuse_a_dry_run_refuses(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        expected(**settings)


# -- plans


def plans(**settings: Any) -> dict[str, Plan]:
    """Return the plans for a run with a real model, by name."""
    priced = {"model": "openai/embedded", "prices": PRICES}
    return {plan.name: plan for plan in expected(**priced, **settings).plans}


def test_plans_cost_what_tiers_do() -> None:
    """Flex is half of it; in a batch are those for whom no user waits."""
    told = plans()
    live, flex, batch = (told[name] for name in ("live", "flex", "batch"))
    assert live.cost is not None
    assert flex.cost == pytest.approx(live.cost / 2)
    assert set(batch.roles) == {"critic", "reflector"}
    roles = expected(model="openai/embedded", prices=PRICES).roles
    half = sum(roles[role].cost or 0.0 for role in batch.roles) / 2
    assert batch.cost == pytest.approx(live.cost - half)


@pytest.mark.parametrize(
    ("settings", "rounds"),
    [
        ({"arrivals": "all"}, 1),
        ({"arrivals": "all", "running": 2}, 3),
        ({"arrivals": "batches:3"}, 2),
        ({"arrivals": "batches:3", "test_episodes": 4, "test_every": 3}, 5),
        ({"arrivals": "poisson:1"}, 6),
    ],
)
def test_rounds_are_those_of_the_runs_structure(settings: dict[str, Any], rounds: int) -> None:
    """What arrives together goes together; of who comes alone it is the most there can be."""
    batch = plans(**settings)["batch"]
    assert (batch.rounds, batch.exact) == (rounds, settings["arrivals"] != "poisson:1")


def test_what_users_wait_for_takes_a_round_each() -> None:
    """Of planner and actor a step needs two, one after the other."""
    patient = {"planner": {"tier": "batch"}, "actor": {"tier": "batch"}}
    told = plans(arrivals="all", **patient)["batch"]
    assert told.roles == ("planner", "actor")
    assert told.rounds == 2 * FEW["limit"]


def test_rounds_are_as_many_as_a_run_has(tmp_path: Path) -> None:
    """As told by what a run of the same structure sends."""
    roles = ("planner", "actor", "critic", "reflector")
    patient = {role: {"tier": "batch"} for role in roles}
    quick = {"batch_wait": 0.05, "batch_poll": 0.02}
    with served() as service:
        run(configured(FEW, service.remote, patient, quick), out=tmp_path / "run")
    sent, _ = read_batches(tmp_path / "run" / "batches.jsonl")
    assert len(sent) == plans(**patient)["batch"].rounds


def test_without_a_service_there_is_nothing_to_choose() -> None:
    assert expected().plans == ()
