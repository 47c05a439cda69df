"""Budgets: a run stops cleanly when its calls, tokens or money are spent, and goes on with more."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.models.guards.budget import Allowances, Budget, Price, Tokens
from agents.models.model import ChatMessage, ChatReply, ChatRequest, Sampling
from engine.calls import Call
from engine.errors import BudgetError, CallFailedError, ConfigError
from sim.config.layers import configured
from sim.metrics.summary import Summary
from sim.runs.resume import resume
from sim.runs.run import run
from storage.journal import read_journal
from storage.runs import RunDirectory
from storage.traces import read_trace
from tests.support.served import PROBES, Served, served
from tests.support.shell import Said, Shell, tree

PRICE = Price(prompt=1.0, completion=10.0)


def request(seed: int = 0, *, max_tokens: int = 50) -> ChatRequest:
    return ChatRequest(
        call=Call(seed, seed, 0, 0, "actor", 0),
        sampling=Sampling(model="m", max_tokens=max_tokens),
        messages=(ChatMessage(role="user", content="x" * 400),),
        seed=seed,
    )


@dataclass
class Steady:
    """Uses 100 tokens in and 20 out for every reply, which it gives when it may."""

    asked: int = 0
    failing: bool = False
    may: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may.set()

    async def reply(self, asked: ChatRequest) -> ChatReply:
        self.asked += 1
        await self.may.wait()
        if self.failing:
            raise CallFailedError("no", kind="server")
        return ChatReply(text="yes", prompt_tokens=100, completion_tokens=20)


def spend(model: Steady, count: int = 100, **allowed: Any) -> tuple[Budget, BudgetError | None]:
    """Ask *count* times, one after the other, or until it is too much; return the error."""
    budget = Budget(model, Allowances(**allowed))

    async def main() -> BudgetError | None:
        for number in range(count):
            try:
                await budget.reply(request(number))
            except BudgetError as error:
                return error
        return None

    return budget, asyncio.run(main())


# -- what is counted


@pytest.mark.parametrize(
    ("allowed", "replies", "sentence"),
    [
        ({"calls": 7}, 7, "max_calls is reached: the run has made 7 calls"),
        (
            {"tokens": 1_000},
            8,
            "max_tokens_total is reached: the run has used 960 tokens of 1,000, "
            "and a call may take more than is left",
        ),
        (
            {"cost": 0.0025, "prices": {"m": PRICE}},
            8,  # of 0.0003 each
            "max_cost is reached: the run has cost 0.0024 of 0.0025, "
            "and a call may take more than is left",
        ),
    ],
)
def test_no_call_is_made_that_cannot_be_afforded(
    allowed: dict[str, Any], replies: int, sentence: str
) -> None:
    """It is never more than what is allowed, and the setting that stands against it is named."""
    model = Steady()
    _, error = spend(model, **allowed)
    assert (model.asked, str(error)) == (replies, sentence)
    assert error is not None
    assert sentence.startswith(error.setting)


def test_nothing_is_no_limit() -> None:
    model = Steady()
    budget, error = spend(model)
    assert (model.asked, error) == (100, None)
    assert (budget.spent.calls, budget.spent.tokens) == (100, 12_000)


def test_what_was_spent_before_counts() -> None:
    """By this run in another process: its calls, their tokens and what they cost."""
    budget = Budget(Steady(), Allowances(prices={"m": PRICE}))
    budget.note("m", Tokens(1_000, 100))
    budget.note("another", Tokens(5, 5))
    assert (budget.spent.calls, budget.spent.tokens) == (2, 1_110)
    assert budget.spent.cost == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("prices", "cost"),
    [
        ({}, 1.0 * 1_000 + 10.0 * 100),
        ({"cached": 0.1}, 1.0 * 300 + 0.1 * 700 + 10.0 * 100),
        ({"cached": 0.1, "written": 1.25}, 1.0 * 100 + 0.1 * 700 + 1.25 * 200 + 10.0 * 100),
    ],
)
def test_what_a_service_had_read_before_has_its_own_price(
    prices: dict[str, float], cost: float
) -> None:
    """So has what it keeps; where none is set they cost what all others do."""
    tokens = Tokens(1_000, 100, cached=700, written=200)
    price = Price(prompt=1.0, completion=10.0, **prices)
    assert tokens.cost(price) == pytest.approx(cost / 1_000_000)


def test_a_call_that_fails_costs_no_tokens() -> None:
    """But it was a call."""
    budget = Budget(Steady(failing=True), Allowances(prices={"m": PRICE}))
    with pytest.raises(CallFailedError):
        asyncio.run(budget.reply(request()))
    assert budget.spent.calls == 1
    assert (budget.spent.tokens, budget.spent.cost) == pytest.approx((0, 0))


# -- what is in flight


def in_flight(model: Steady, count: int, **allowed: Any) -> list[ChatReply | BaseException]:
    """Ask *count* times at once, let nothing be replied until all were asked, return what came."""

    async def main() -> list[ChatReply | BaseException]:
        budget = Budget(model, Allowances(**allowed))
        model.may.clear()
        tasks = [asyncio.create_task(budget.reply(request(number))) for number in range(count)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        model.may.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(main())


def test_what_is_in_flight_is_waited_for() -> None:
    """It is paid for: the run stops when the last of it has ended."""
    came = in_flight(Steady(), 5, calls=3)
    assert [type(one) for one in came] == [ChatReply] * 3 + [BudgetError] * 2


def test_calls_that_come_to_less_than_expected_leave_room() -> None:
    """A reply might have had 5,000 tokens; since it has 20, all ten calls can be afforded."""
    model = Steady()

    async def main() -> None:
        budget = Budget(model, Allowances(tokens=6_000))
        await asyncio.gather(*(budget.reply(request(n, max_tokens=5_000)) for n in range(10)))

    asyncio.run(main())
    assert model.asked == 10


def test_nothing_begins_once_the_budget_is_spent() -> None:
    """Not even a cheaper call: the run is being stopped, it would be cut off half-way."""
    model = Steady()

    async def main() -> None:
        budget = Budget(model, Allowances(tokens=1_000))
        with pytest.raises(BudgetError):
            await budget.reply(request(max_tokens=5_000))
        await budget.reply(request(max_tokens=1))

    with pytest.raises(BudgetError, match="max_tokens_total is reached: the run has used 0 tokens"):
        asyncio.run(main())
    assert model.asked == 0


# -- prices


def test_a_price_is_of_a_million_tokens() -> None:
    assert Price(prompt=0.15, completion=0.6).cost(2_000_000, 500_000) == pytest.approx(0.6)


def test_a_tier_has_a_price_of_its_own() -> None:
    """Half of it for who can wait, twice as much for who cannot; or what is said."""
    price = Price(prompt=1.0, completion=4.0, priority=3.0)
    costs = [
        price.at(tier).cost(1_000_000, 1_000_000) for tier in ("", "flex", "batch", "priority")
    ]
    assert costs == pytest.approx([5.0, 2.5, 2.5, 15.0])


def test_every_model_needs_a_price_where_the_cost_is_limited() -> None:
    allowances = Allowances(cost=1.0, prices={"m": PRICE})
    allowances.check({"m"})
    with pytest.raises(ConfigError, match="max_cost is set, but 'n' has no price") as caught:
        allowances.check({"m", "n"})
    assert caught.value.hint.startswith('--set \'prices."n".prompt=')
    Allowances(calls=3).check({"m", "n"})


def test_a_price_below_zero_is_none() -> None:
    with pytest.raises(ConfigError, match="the price of 'm' must be at least 0"):
        Allowances(prices={"m": Price(prompt=-1.0, completion=1.0)}).check(set())


# -- runs

FEW: dict[str, Any] = {"episodes": 6, "arrivals": "batches:3", "limit": 6, "fsync": "none"}
PRICED = ("--set", "prices.embedded.prompt=1", "--set", "prices.embedded.completion=10")
BUDGETS = {
    "max_calls": (("--max-calls", "40"), "the run has made 40 calls"),
    "max_tokens_total": (("--max-tokens-total", "20000"), "the run has used "),
    "max_cost": (("--max-cost", "0.02", *PRICED), "the run has cost 0.0"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A run that may spend what it likes."""
    prices = {"embedded": {"prompt": 1, "completion": 10}}
    out = tmp_path_factory.mktemp("plain") / "run"
    return run(configured(FEW, {"prices": prices}), out=out)


@pytest.fixture
def shell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


def few(*words: str) -> tuple[str, ...]:
    numbers = ("--episodes", "6", "--arrivals", "batches:3", "--set", "limit=6")
    return ("run", *numbers, "--set", "fsync=none", *words)


@dataclass(frozen=True)
class Spent:
    """A run over HTTP that spent its budget: how it was limited, and what it said."""

    setting: str
    service: Served
    said: Said
    directory: RunDirectory


@pytest.fixture(params=BUDGETS)
def spent(request: pytest.FixtureRequest, shell: Shell) -> Any:
    words, _ = BUDGETS[request.param]
    with served() as service:
        said = shell.billp(*few(*service.words, *words, "--out", "run"))
        yield Spent(request.param, service, said, RunDirectory(Path("run")))


def test_a_spent_budget_is_one_sentence(spent: Spent) -> None:
    """With what was spent and how to go on; exit status 4."""
    sentence, hint = spent.said.err.splitlines()
    assert (spent.said.status, spent.said.out) == (4, "")
    assert sentence.startswith(f"billp: {spent.setting} is reached: {BUDGETS[spent.setting][1]}")
    assert hint == f"  allow more: billp resume run --set {spent.setting}=…"


def test_a_spent_budget_leaves_everything_on_disk(spent: Spent) -> None:
    """Every call that was answered is in the journal; the trace holds whole episodes only."""
    recording = read_journal(spent.directory.journal)
    assert len(recording) == spent.service.answered - PROBES  # all but those before the run
    assert not recording.torn
    assert {ended.error for ended in recording.values()} == {None}
    names = {type(envelope.message).__name__ for envelope in read_trace(spent.directory.trace)}
    assert not {"EpisodeFailed", "ModelFailed", "RunEnded"} & names
    assert not spent.directory.summary.exists()


def test_no_more_is_spent_than_allowed(spent: Spent) -> None:
    """By the service's own count."""
    ends = read_journal(spent.directory.journal).values()
    prompts = sum(ended.prompt_tokens for ended in ends)
    completions = sum(ended.completion_tokens for ended in ends)
    counted = {
        "max_calls": len(ends) / 40,
        "max_tokens_total": (prompts + completions) / 20_000,
        "max_cost": PRICE.cost(prompts, completions) / 0.02,
    }
    assert 0.75 < counted[spent.setting] <= 1


def test_with_more_the_run_goes_on(spent: Spent, shell: Shell, plain: Summary) -> None:
    """To the digest and the tokens of a run without a budget; no call is paid for twice."""
    more = ("--set", f"{spent.setting}=1000000", "--json", "--quiet")
    summary = msgspec.json.decode(shell.fine("resume", "run", *more))
    assert (summary["digest"], summary["tokens"]) == (plain.digest, plain.tokens)
    assert spent.service.answered == plain.calls + 2 * PROBES  # those before the run, twice
    if spent.setting == "max_cost":
        assert summary["cost"] == plain.cost


@pytest.mark.parametrize("setting", BUDGETS)
def test_without_more_it_stops_again(setting: str, shell: Shell) -> None:
    """At once, with the same words, and nothing but the word before it is asked."""
    with served() as service:
        words = few(*service.words, *BUDGETS[setting][0], "--arrivals", "batches:1")
        said = shell.billp(*words, "--out", "run")
        answered, journal = service.answered, Path("run/calls.jsonl").read_bytes()
        assert shell.billp("resume", "run") == said
        assert service.answered == answered + PROBES
    assert said.status == 4
    assert Path("run/calls.jsonl").read_bytes() == journal


def test_a_run_can_go_on_bit_by_bit(plain: Summary, tmp_path: Path) -> None:
    """Budgets hold for the whole run, not for each process."""
    out = tmp_path / "run"
    with pytest.raises(BudgetError):
        run(configured(FEW, {"max_calls": 10, "concurrency": 1}), out=out)
    for limit in range(20, plain.calls, 10):
        with pytest.raises(BudgetError):
            resume(out, settings=[{"max_calls": limit}])
        assert len(read_journal(RunDirectory(out).journal)) == limit
    finished = resume(out, settings=[{"max_calls": plain.calls}])
    assert finished is not None
    assert (finished.digest, finished.calls) == (plain.digest, plain.calls)


def test_a_budget_that_suffices_leaves_no_mark(plain: Summary, tmp_path: Path) -> None:
    prices = {"embedded": {"prompt": 1, "completion": 10}}
    enough = {"max_calls": plain.calls, "max_tokens_total": plain.tokens * 2, "max_cost": 1}
    summary = run(configured(FEW, enough, {"prices": prices}), out=tmp_path / "run")
    assert (summary.digest, summary.cost) == (plain.digest, plain.cost)


def test_the_cost_is_by_each_roles_price(plain: Summary, tmp_path: Path) -> None:
    """Here all but the critic cost nothing."""
    out = tmp_path / "run"
    prices = {"embedded": {"prompt": 0, "completion": 0}, "dear": {"prompt": 10, "completion": 1}}
    critic = {"critic": {"model": "openai/dear"}}
    summary = run(configured(FEW, critic, {"prices": prices}), out=out, model=Cheap())
    ends = [end for end in read_journal(RunDirectory(out).journal).values() if end.role == "critic"]
    assert summary.cost == pytest.approx(7 * 10 * len(ends) / 1e6 + 3 * len(ends) / 1e6)


class Cheap:
    """Says a number, for 7 tokens in and 3 out."""

    async def reply(self, asked: ChatRequest) -> ChatReply:
        return ChatReply(text="1", prompt_tokens=7, completion_tokens=3)


# -- what is refused

Refusal = Callable[..., tuple[str, str]]


@pytest.fixture
def refusal(shell: Shell, tmp_path: Path) -> Refusal:
    """Give a function for commands that are to be refused before anything begins."""

    def refused(*words: str) -> tuple[str, str]:
        before = tree(tmp_path)
        said = shell.refusal(*words)
        assert tree(tmp_path) == before
        return said

    return refused


def test_a_price_that_lacks_is_refused_before_anything_begins(refusal: Refusal) -> None:
    """Nobody is asked a thing, and nothing is written."""
    with served() as service:
        sentence, hint = refusal(*few(*service.words, "--max-cost", "1", "--out", "run"))
    assert sentence == "max_cost is set, but 'embedded' has no price"
    assert hint.startswith("--set 'prices.\"embedded\".prompt=0.15'")
    assert not service.outcomes


def test_a_price_that_a_role_lacks_is_refused_as_well(refusal: Refusal) -> None:
    with served() as service:
        critic = ("--set", "critic.model=openai/gpt-4o", "--max-cost", "1", *PRICED)
        sentence, _ = refusal(*few(*service.words, *critic, "--out", "run"))
    assert sentence == "max_cost is set, but 'gpt-4o' has no price"
    assert not service.outcomes


def test_a_resumed_run_needs_prices_as_well(refusal: Refusal, shell: Shell) -> None:
    """Nothing of its directory changes."""
    assert shell.billp(*few("--max-calls", "10", "--out", "run")).status == 4
    sentence, _ = refusal("resume", "run", "--set", "max_cost=1")
    assert sentence == "max_cost is set, but 'embedded' has no price"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--max-calls", "-1"), "max_calls: "),
        (("--max-cost", "-0.5"), "max_cost: "),
        (("--max-cost", "nan"), "max_cost: "),
        (("--set", "prices.embedded.prompt=1"), "prices"),
        (("--set", "prices.embedded.prompt=-1", "--set", "prices.embedded.completion=1"), "the pr"),
    ],
)
def test_what_is_no_budget(refusal: Refusal, words: tuple[str, ...], named: str) -> None:
    assert refusal(*few(*words, "--out", "run"))[0].startswith(named)
