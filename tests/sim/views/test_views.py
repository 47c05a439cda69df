"""What people see of a run: progress while it runs, a report when it is over."""

import asyncio
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from engine.errors import CallFailedError
from sim.config.run import RunConfig
from sim.metrics.metrics import CurvePoint, Metrics
from sim.metrics.summary import Summary
from sim.metrics.toll import Toll
from sim.runs.pulse import Pulse
from sim.runs.run import run
from sim.views import progress
from sim.views.progress import ProgressView, facts, fitted, joined, time_left
from sim.views.report import report

LINE = re.compile(
    r"\d/4 episodes( · 1 failed)? · (time left –|about \d+ s left) · R_traj (–|\d+\.\d) · "
    r"Len (–|\d+\.\d) · \d+ steps · (–|\d+\.\d) steps/s · \d+ in flight · [\d.]+k? tokens"
)
PULSE = Pulse(
    episodes=12,
    total=100,
    running=10,
    failed=1,
    steps=1234,
    steps_per_second=12.34,
    in_flight=16,
    limit=16,
    ceiling=16,
    waiting=0,
    pausing=0,
    attempts=5000,
    refused=4,
    failed_attempts=7,
    retries=6,
    tokens=1_234_567,
    tokens_per_minute=99_000.0,
    token_limit=None,
    cost=0.1234,
    budget=5.0,
    r_traj=23.45,
    len=7.8,
    seconds=60.0,
    seconds_left=170.0,
)
METRICS = Metrics(
    episodes=20,
    failed=0,
    users=20,
    steps=1234,
    len=61.7,
    r_each=3.25,
    r_traj=200.525,
    coverage=0.456,
    entropy=3.5,
    repeats_share=0.125,
    distinct_items=1000,
    items_coverage=0.5,
    mcd=0.875,
    ild=0.75,
    novelty=10.5,
    gini=0.625,
    quits={"similar": 12, "reward": 5, "limit": 3},
    by_step=(),
    groundings={"exact": 1234},
    unreadable=0,
    fallbacks=0,
)
SUMMARY = Summary(
    run="traces/runs/mine",
    digest="5e" * 32,
    agent="billp",
    model="embedded",
    environment="world",
    environment_digest="ab" * 32,
    seed=0,
    repeats="forbid",
    metrics=METRICS,
    all_episodes=20,
    all_steps=1234,
    messages=9876,
    calls=4321,
    live_calls=4321,
    failed_calls=0,
    tokens=1_234_567,
    prompt_tokens=1_200_000,
    completion_tokens=34_567,
    seconds=2.0,
    utilization=0.5,
    calls_per_episode=216.05,
    tokens_per_episode=61728.4,
    tokens_per_reward=307.833,
)
TRAIN = msgspec.structs.replace(METRICS, episodes=98, failed=2, len=7.5, r_each=3.0, r_traj=22.5)
TESTED = msgspec.structs.replace(
    SUMMARY, train=TRAIN, test_memory="frozen", all_episodes=118, all_steps=1969
)


@dataclass
class Slow:
    """The embedded model at leisure; it never answers in some episode, if there is one."""

    silent: int | None = None
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.episode == self.silent:
            raise CallFailedError("not that one", kind="refused")
        await asyncio.sleep(0.01)
        return await self.model.reply(request)


def shown(out: Path, *, terminal: bool, model: Slow, width: int = 160) -> str:
    """Return what is shown of the progress of a run of four episodes."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width)
    run(RunConfig(episodes=4), out=out, model=model, views=[ProgressView(console)])
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def printed(page: RenderableType, *, width: int = 120) -> str:
    """Return *page* as it is written to a file."""
    console = Console(file=io.StringIO(), force_terminal=False, width=width, markup=False)
    console.print(page, crop=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_access_took_is_said_only_if_something_happened() -> None:
    """Attempts that failed, and who did not hear all; else not a word, and no zeros."""
    toll = Toll(
        attempts=4453,
        failed={"server": 12, "connection": 120},
        retries=132,
        pause_seconds=99.96,
        wait_seconds=312.4,
        tokens_per_minute=90_000.0,
    )
    told = msgspec.structs.replace(
        SUMMARY, access=toll, dropped={"mine": "ValueError: tired"}, missed={"LogView": 1200}
    )
    said = printed(report(told), width=200)
    assert (
        "132 of 4,453 attempts failed: 120 connection, 12 server · 132 retried after 100.0 s\n"
        "calls waited 312 s in all for a slot or 90,000 tokens a minute\n"
        "mine was dropped: ValueError: tired\n"
        "LogView missed 1,200 messages\n"
    ) in said
    calm = printed(report(msgspec.structs.replace(SUMMARY, access=Toll(attempts=4321))))
    assert not any(word in calm for word in ("attempts", "retried", "missed", "dropped"))


# -- progress


def test_elsewhere_progress_is_plain_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a log: one line from time to time, without colours and without a bar."""
    monkeypatch.setattr(progress, "_LATER", 0.02)
    lines = shown(tmp_path, terminal=False, model=Slow()).splitlines()
    assert len(lines) > 1
    assert all(LINE.fullmatch(line) for line in lines), lines


def test_progress_tells_of_failed_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, not only when the run is over."""
    monkeypatch.setattr(progress, "_LATER", 0.02)
    lines = shown(tmp_path, terminal=False, model=Slow(silent=0)).splitlines()
    assert any(line.startswith("1/4 episodes · 1 failed · ") for line in lines)


def test_on_a_terminal_progress_is_drawn(tmp_path: Path) -> None:
    """A bar with the count of episodes, which is gone when the run is over."""
    drawn = shown(tmp_path, terminal=True, model=Slow())
    assert "0/4" in drawn
    assert "in flight" in drawn
    assert drawn.endswith("\x1b[2K")  # the line is erased


def test_where_there_is_room_all_is_said() -> None:
    """What matters most comes first, with the name of what it is."""
    assert joined(facts(PULSE)) == (
        "12/100 episodes · 1 failed · about 3 min left · R_traj 23.4 · Len 7.8 · 1,234 steps · "
        "12.3 steps/s · 16 in flight · 1.2M tokens · cost 0.123 of 5 · 6 retries (4 × 429)"
    )


def test_a_narrow_terminal_hears_what_matters_most() -> None:
    """Whole words, in the order in which they always stand."""
    assert fitted(facts(PULSE), 48) == "12/100 episodes · about 3 min left · R_traj 23.4"
    assert fitted(facts(PULSE), 80) == (
        "12/100 episodes · 1 failed · about 3 min left · R_traj 23.4 · cost 0.123 of 5"
    )
    assert fitted(facts(PULSE), 1) == "12/100 episodes"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_progress_stays_on_its_line(tmp_path: Path, width: int) -> None:
    """Nothing is wrapped or cut, be the terminal wide or narrow."""
    drawn = shown(tmp_path, terminal=True, model=Slow(), width=width)
    lines = [Text.from_ansi(line).plain.rstrip() for line in re.split(r"[\r\n]", drawn)]
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    assert all("/4 episodes" in line for line in lines if line)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "time left –"),
        (0.2, "about 1 s left"),
        (59.9, "about 1 min left"),
        (61, "about 2 min left"),
        (3_600, "about 1 h left"),
        (7_201, "about 2 h 1 min left"),
        (86_400 * 2 + 3_601, "about 2 days 2 h left"),
    ],
)
def test_time_left_is_said_in_words(seconds: float | None, words: str) -> None:
    """Rounded up, as precise as anybody wants to know."""
    assert time_left(seconds) == words


def test_a_short_run_says_nothing(tmp_path: Path) -> None:
    """Whoever does not look at a terminal is not bothered in the first seconds."""
    assert shown(tmp_path, terminal=False, model=Slow()) == ""


def test_progress_leaves_no_mark(tmp_path: Path) -> None:
    """Shown or not, the run is the same."""
    shown(tmp_path / "shown", terminal=True, model=Slow())
    run(RunConfig(episodes=4), out=tmp_path / "not")
    traces = [(tmp_path / name / "trace.jsonl").read_bytes() for name in ("shown", "not")]
    assert traces[0] == traces[1]


# -- the report


def test_metrics_have_a_value_and_a_meaning() -> None:
    page = printed(report(SUMMARY))
    rows = {
        "Len": r"61\.70 .* recommendations per episode",
        "R_each": r"3\.250 .* reward per recommendation",
        "R_traj": r"200\.53 .* sum of rewards per episode",
        "coverage": r"45\.6% .* of all categories",
        "ILD": r"0\.750 .* unlikeness of an episode's items",
        "repeats": r"12\.5% .* of recommendations",
        "CV": r"50\.0% .* of the catalog: 1,000 items",
        "Gini": r"0\.625 .* of the items' shares",
        "MCD": r"87\.5% .* from dominating categories",
        "novelty": r"10\.50 .* bits",
        "episodes": "20 .* 12 too much alike, 5 low reward, 3 stayed to the limit",
    }
    for name, row in rows.items():
        assert re.search(f"│ {name} +│ +{row}", page), page


def test_effort_is_told() -> None:
    """Steps, messages, calls, tokens, seconds and how items shown before were treated."""
    page = printed(report(SUMMARY))
    assert "1,234 steps, 9,876 messages, 4,321 model calls, 1,234,567 tokens" in page
    assert "2.0 s, 617 steps/s · items shown before: forbid" in page


def test_what_did_not_happen_is_not_told() -> None:
    page = printed(report(SUMMARY))
    for what in ("failed", "unreadable", "test", "training", "learning curve", "cost"):
        assert what not in page


def test_numbers_of_a_test_say_so() -> None:
    """Who was tested, how, and after what; with the numbers of the training beside."""
    page = printed(report(TESTED))
    assert "billp in world" in page
    assert "20 test users, memory frozen, after 100 training episodes" in page
    assert re.search(r"│ Len +│ +61\.70 │ +7\.50 │ recommendations", page)
    assert re.search(r"│ R_traj +│ +200\.53 │ +22\.50 │", page)
    assert re.search(r"│ CV +│ +50\.0% │ +│", page)


def test_steps_are_those_of_the_whole_run() -> None:
    """So that the pace is right: 1,969 in two seconds, though a test has fewer."""
    page = printed(report(TESTED))
    assert "1,969 steps, " in page
    assert "984 steps/s" in page


def test_users_that_were_tested_again_are_told() -> None:
    metrics = msgspec.structs.replace(METRICS, users=15)
    tested = msgspec.structs.replace(TESTED, metrics=metrics, test_memory="learning")
    assert "20 test episodes of 15 users, memory learning" in printed(report(tested))


def test_a_learning_curve_has_a_row_for_each_test() -> None:
    points = [
        CurvePoint(trained=trained, episodes=20, len=7.0, r_each=3.5, r_traj=24.5 + trained)
        for trained in (0, 1000)
    ]
    page = printed(report(msgspec.structs.replace(TESTED, curve=tuple(points))))
    assert re.search(r"│ +0 │ +20 │ +7\.00 │ +3\.500 │ +24\.50 │", page)
    assert re.search(r"│ +1,000 │ .* │ +1024\.50 │", page)


def test_what_an_episode_came_to_is_told() -> None:
    """And a unit of R_traj; what it cost, if anything."""
    page = printed(report(SUMMARY))
    assert "an episode: 216.1 calls, 61,728 tokens · 1 of R_traj: 308 tokens\n" in page
    costly = msgspec.structs.replace(SUMMARY, cost_per_episode=1.25, cost_per_reward=0.00625)
    page = printed(report(costly))
    assert "61,728 tokens, cost 1.25 · 1 of R_traj: 308 tokens, cost 0.00625\n" in page


def test_where_nothing_is_gained_nothing_has_a_price() -> None:
    worthless = msgspec.structs.replace(SUMMARY, tokens_per_reward=None, cost_per_reward=None)
    assert "1 of R_traj: –" in printed(report(worthless))


@pytest.mark.parametrize("why", ["unknown", "bored"])
def test_any_reason_to_leave_can_be_told(why: str) -> None:
    """Also one that nobody has heard of."""
    metrics = msgspec.structs.replace(METRICS, quits={"similar": 12, why: 8})
    page = printed(report(msgspec.structs.replace(SUMMARY, metrics=metrics)))
    assert f"12 too much alike, 8 {why}" in page


def test_failures_are_told() -> None:
    """Episodes that failed, and replies that nobody could read."""
    metrics = msgspec.structs.replace(METRICS, failed=2, unreadable=7, fallbacks=3)
    page = printed(report(msgspec.structs.replace(SUMMARY, metrics=metrics)))
    assert re.search(r"failed +│ +2 │ episodes, in none of the above", page)
    assert re.search(r"unreadable +│ +7 │ replies; 3 times grounding chose instead", page)


@pytest.mark.parametrize(
    ("model", "calls", "told"), [("embedded", 10, True), ("gpt-4o-mini", 10, False)]
)
def test_the_stand_in_is_never_taken_for_a_language_model(
    model: str, calls: int, told: bool
) -> None:
    """Its numbers come with a warning, and those of others do not."""
    summary = msgspec.structs.replace(SUMMARY, model=model, calls=calls)
    assert ("is a stand-in" in printed(report(summary))) is told


def test_baselines_need_no_warning() -> None:
    """They ask no model at all."""
    assert "stand-in" not in printed(report(msgspec.structs.replace(SUMMARY, calls=0)))


def test_digest_and_path_stand_on_lines_of_their_own() -> None:
    """To be copied, also from a narrow terminal."""
    run_path = "/somewhere/deep/down/in/a/directory/with/a/long/name/the run"
    page = printed(report(msgspec.structs.replace(SUMMARY, run=run_path)), width=40)
    assert f"\ndigest    {SUMMARY.digest}\n" in page
    assert f"\nrun       {run_path}\n" in page
    assert f"\n  billp show '{run_path}' 0  " in page


def test_a_run_without_an_episode_can_be_reported() -> None:
    """All of them failed, in no time."""
    zeros = dict.fromkeys(("episodes", "steps", "len", "r_each", "r_traj", "coverage"), 0)
    metrics = msgspec.structs.replace(METRICS, **zeros, failed=4, quits={})
    zero = {"all_episodes": 0, "all_steps": 0, "seconds": 0.0}
    page = printed(report(msgspec.structs.replace(SUMMARY, metrics=metrics, **zero)))
    assert "an episode" not in page
    assert "which are all there were" in page
    assert "Len" not in page
    assert "0 steps/s" in page
