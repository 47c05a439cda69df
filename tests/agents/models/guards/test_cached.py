"""Replies from a cache: they change what a run costs, and never its trace."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.models.guards.cached import Cached, SpareCache
from agents.models.model import ChatMessage, ChatModel, ChatReply, ChatRequest, Sampling
from engine.calls import Call
from engine.errors import BudgetError, CallFailedError
from sim.cli import main
from sim.config.layers import configured
from sim.metrics.summary import Summary
from sim.runs.run import run
from storage.journal import read_journal
from storage.replies import NAME, open_cache
from storage.runs import RunDirectory
from tests.support.dying import together
from tests.support.served import PROBES, served
from tests.support.shell import Shell, tree
from tests.support.small import SMALL, Counted, Failing, synthetic, words


def request(text: str = "what next?", *, occurrence: int = 0, seed: int = 7) -> ChatRequest:
    return ChatRequest(
        call=Call(0, 1, 0, 2, "actor", occurrence),
        sampling=Sampling(model="embedded"),
        messages=(ChatMessage(role="user", content=text),),
        seed=seed,
    )


@dataclass
class Moody:
    """Says something else every time, or nothing at all."""

    asked: int = 0
    failing: bool = False

    async def reply(self, asked: ChatRequest) -> ChatReply:
        self.asked += 1
        if self.failing:
            raise CallFailedError("too long", kind="too_long")
        return ChatReply(text=str(self.asked), prompt_tokens=9, completion_tokens=1, finish="stop")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[SpareCache]:
    with closing(SpareCache(tmp_path / "cache")) as opened:
        yield opened


async def answered(cached: Cached, asked: ChatRequest) -> ChatReply:
    reply = await cached.reply(asked)
    cached.keep(asked, reply)
    return reply


def ask(cached: Cached, *requests: ChatRequest) -> list[str]:
    """Return what is said to *requests*, one after the other; each reply is kept in its turn."""

    async def main() -> list[str]:
        return [(await answered(cached, asked)).text for asked in requests]

    return asyncio.run(main())


# -- call by call


def test_a_call_is_made_once(cache: SpareCache) -> None:
    """The second time the same is said, with the same tokens, and nobody is asked."""
    model = Moody()
    cached = Cached(model, cache, "here")
    first, second = (asyncio.run(answered(cached, request())) for _ in range(2))
    assert second == msgspec.structs.replace(first, attempts=0)
    assert (model.asked, cached.hits, cached.misses) == (1, 1, 1)


def test_identical_prompts_keep_their_own_replies(cache: SpareCache) -> None:
    """Two calls that say the same are two calls, in whatever order they come."""
    one, other, elsewhere = request(), request(occurrence=1), request(seed=8)
    assert ask(Cached(Moody(), cache, "here"), one, other, elsewhere) == ["1", "2", "3"]
    assert ask(Cached(Moody(), cache, "here"), elsewhere, other, one) == ["3", "2", "1"]


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": Sampling(model="another")},
        {"sampling": Sampling(model="embedded", temperature=1.0)},
        {"sampling": Sampling(model="embedded", max_tokens=5)},
        {"schema": "{}"},
        {"messages": (ChatMessage(role="user", content="what else?"),)},
    ],
)
def test_whatever_decides_a_reply_asks_anew(cache: SpareCache, change: dict[str, Any]) -> None:
    changed = msgspec.structs.replace(request(), **change)
    assert ask(Cached(Moody(), cache, "here"), request(), changed) == ["1", "2"]


def test_models_of_one_name_are_told_apart_by_their_place(cache: SpareCache) -> None:
    model = Moody()
    assert ask(Cached(model, cache, "http://here/v1"), request()) == ["1"]
    assert ask(Cached(model, cache, "http://there/v1"), request()) == ["2"]


def test_failed_calls_are_not_kept(cache: SpareCache, tmp_path: Path) -> None:
    """Next time they are asked again."""
    model = Moody(failing=True)
    cached = Cached(model, cache, "here")
    with pytest.raises(CallFailedError):
        ask(cached, request())
    model.failing = False
    assert ask(cached, request(), request()) == ["2", "2"]
    with closing(open_cache(tmp_path / "cache")) as opened:
        assert opened.statistics().replies == 1


# -- run by run


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A run without a cache."""
    return run(configured(SMALL), out=tmp_path_factory.mktemp("plain") / "run")


Cheap = Callable[..., tuple[Summary, int]]


@pytest.fixture
def cheap(tmp_path: Path) -> Cheap:
    """Give a function that runs with a cache and returns how many calls were made as well."""
    places = (tmp_path / f"run {number}" for number in range(9))

    def running(model: ChatModel | None = None, **settings: Any) -> tuple[Summary, int]:
        counted = Counted(model=model) if model else Counted()
        config = configured(SMALL, {"cache": str(tmp_path / "cache")}, settings)
        summary = run(config, out=next(places), model=counted, environment=synthetic())
        return summary, len(counted.asked)

    return running


def test_cold_and_warm_runs_leave_the_same_trace(plain: Summary, cheap: Cheap) -> None:
    """The second run makes no call at all."""
    (cold, asked), (warm, asked_again) = cheap(), cheap()
    assert cold.digest == warm.digest == plain.digest
    assert (asked, asked_again) == (plain.calls, 0)
    assert (cold.cached_calls, warm.cached_calls) == (0, plain.calls)
    assert (warm.calls, warm.tokens) == (plain.calls, plain.tokens)


def test_runs_that_begin_alike_share(tmp_path: Path, cheap: Cheap) -> None:
    """A longer run pays only for what is new in it, and leaves the trace of one that shares not."""
    alone = run(configured(SMALL, {"episodes": 10}), out=tmp_path / "alone")
    _, asked = cheap()
    longer, more = cheap(episodes=10)
    assert longer.digest == alone.digest
    assert (longer.cached_calls, more) == (asked, alone.calls - asked)


@pytest.mark.parametrize("how", [{"concurrency": 1}, {"concurrency": 64}, {"running": 1}])
def test_a_cache_serves_any_concurrency(plain: Summary, cheap: Cheap, how: dict[str, int]) -> None:
    """Which reply belongs to which call does not depend on their order."""
    cheap()
    summary, asked = cheap(**how)
    assert (summary.digest, asked) == (plain.digest, 0)


def test_another_seed_shares_nothing(cheap: Cheap) -> None:
    """Its calls are others, though some of its prompts may be the same."""
    cheap()
    summary, asked = cheap(seed=1)
    assert (summary.cached_calls, asked) == (0, summary.calls)


def test_calls_that_failed_are_made_again(plain: Summary, cheap: Cheap) -> None:
    """And no other: here the last episode's reflector had no reply."""
    ill, _ = cheap(Failing(episode=5))
    well, asked = cheap()
    assert (ill.failed_calls, asked) == (1, 1)
    assert well.digest == plain.digest


def test_what_a_stopped_run_paid_for_is_kept(plain: Summary, cheap: Cheap) -> None:
    """A run that is begun anew, not resumed, gets it from the cache."""
    with pytest.raises(BudgetError):
        cheap(max_calls=40)
    summary, asked = cheap()
    assert (summary.digest, asked) == (plain.digest, plain.calls - 40)


def test_cached_replies_are_journaled_as_such(tmp_path: Path, cheap: Cheap) -> None:
    """As calls of no attempt: a resumed or replayed run needs no cache."""
    cheap()
    cheap()
    ends = read_journal(RunDirectory(tmp_path / "run 1").journal).values()
    assert {ended.attempts for ended in ends} == {0}


def test_cached_replies_cost_nothing(plain: Summary, cheap: Cheap) -> None:
    """They count for no budget."""
    cheap()
    summary, _ = cheap(
        max_calls=1,
        max_tokens_total=1,
        max_cost=1e-9,
        prices={"embedded": {"prompt": 9, "completion": 9}},
    )
    assert (summary.digest, summary.cost) == (plain.digest, 0.0)


# -- over HTTP, in several processes


def test_processes_share_a_cache(plain: Summary, tmp_path: Path) -> None:
    """Both at once come to the same trace; a third run makes no call but the word before it."""
    cache, outs = tmp_path / "cache", [tmp_path / f"run {number}" for number in range(3)]
    few = (*words(SMALL), "--cache", str(cache))
    with served() as service:
        words_of = [["run", *service.words, *few, "--out", str(out)] for out in outs[:2]]
        said = together([partial(main, each) for each in words_of], tmp_path / "said")
        assert [process.status for process in said] == [0, 0]
        before = service.answered
        run(configured(SMALL, service.remote, {"cache": str(cache)}), out=outs[2])
        assert service.answered == before + PROBES
    assert {RunDirectory(out).read_summary()["digest"] for out in outs} == {plain.digest}
    with closing(open_cache(cache)) as opened:
        assert opened.statistics().replies == plain.calls


# -- the command line


@pytest.fixture
def shell(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture
def filled(shell: Shell) -> dict[str, Any]:
    """Fill a cache by the command line; return the summary of the run."""
    out = shell.fine("run", "--episodes", "4", "--cache", "cache", "--json", "--out", "first")
    summary: dict[str, Any] = msgspec.json.decode(out)
    return summary


def test_stats_tell_what_a_cache_holds(shell: Shell, filled: dict[str, Any]) -> None:
    calls, tokens = filled["calls"], filled["tokens"]
    first, second = shell.fine("cache", "stats", "cache").splitlines()
    assert first.startswith(f"cache/{NAME}: {calls:,} replies, {tokens:,} tokens, ")
    assert second == f"  embedded: {calls:,}"
    told = msgspec.json.decode(shell.fine("cache", "stats", "cache", "--json"))
    assert (told["replies"], told["tokens"]) == (calls, tokens)


def test_prune_drops_and_says_so(shell: Shell, filled: dict[str, Any]) -> None:
    """What is left still serves; the rest is asked again."""
    calls = filled["calls"]
    said = shell.fine("cache", "prune", "cache", "--days", "1", "--keep", "30")
    assert said.startswith(f"dropped {calls - 30:,} replies; 30 are left, ")
    again = msgspec.json.decode(
        shell.fine("run", "--episodes", "4", "--cache", "cache", "--json", "--out", "second")
    )
    assert (again["digest"], again["cached_calls"]) == (filled["digest"], 30)


def test_prune_wants_to_know_what(shell: Shell, filled: dict[str, Any]) -> None:
    sentence, hint = shell.refusal("cache", "prune", "cache")
    assert (sentence, hint) == ("prune what?", "--days 30, --keep 100000, or both")


@pytest.mark.parametrize("words", [("stats",), ("prune", "--keep", "1")])
def test_no_cache_is_one_sentence(shell: Shell, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Nothing is made where nothing was."""
    sentence, hint = shell.refusal("cache", words[0], "nowhere", *words[1:])
    assert sentence == "nowhere: holds no cache of replies"
    assert "billp run --cache" in hint
    assert tree(tmp_path) == {}


def test_a_foreign_file_is_refused_before_a_run_begins(shell: Shell) -> None:
    """One sentence; neither the file nor a run directory is touched."""
    Path("cache").mkdir()
    Path("cache", NAME).write_text("Dear diary, " * 100)
    sentence, hint = shell.refusal("run", "--episodes", "2", "--cache", "cache", "--out", "run")
    assert sentence == f"cache/{NAME}: the cache cannot be used: file is not a database"
    assert hint == "move it away, or name another directory"
    assert not Path("run").exists()
    assert Path("cache", NAME).read_text().startswith("Dear diary")


def test_another_table_is_refused_before_a_run_begins(shell: Shell) -> None:
    Path("cache").mkdir()
    with closing(sqlite3.connect(Path("cache", NAME))) as connection:
        connection.execute("CREATE TABLE replies (letter)")
    sentence, _ = shell.refusal("run", "--episodes", "2", "--cache", "cache", "--out", "run")
    assert sentence == f"cache/{NAME}: a database of something else"
    assert not Path("run").exists()


def test_a_place_that_is_no_directory_is_refused_before_a_run_begins(shell: Shell) -> None:
    Path("cache").write_text("")
    sentence, _ = shell.refusal("run", "--episodes", "2", "--cache", "cache", "--out", "run")
    assert sentence == "cache: cannot be made: File exists"
    assert not Path("run").exists()
