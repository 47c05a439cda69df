"""Faults that must be survived, over real HTTP with the real client: they leave no mark."""

import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatModel, ChatReply, ChatRequest, call_seed
from agents.models.serving.faults import Faults
from agents.models.serving.latency import Latency
from agents.models.serving.refusals import RefusedRequestError
from agents.models.serving.server import Behaviour, Server
from engine.calls import Call
from engine.errors import BudgetError
from engine.messages import ActionTaken
from sim.config.layers import configured
from sim.metrics.summary import Summary
from sim.runs.listeners import Listeners
from sim.runs.resume import resume
from sim.runs.run import run
from storage.journal import read_journal
from storage.runs import RunDirectory
from tests.support.dying import living, typed
from tests.support.served import PROBES, Served, served
from tests.support.shell import Said, Shell

SMALL: dict[str, Any] = {
    "episodes": 8,
    "limit": 4,
    "arrivals": "all",
    "prompts": False,
    "fsync": "none",
    "attempts": 12,  # of 20 % that fail some call else fails for good in every hundredth run
}
PATIENCE = 30.0  # seconds, for a machine that is busy


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A run that nothing disturbs, in one process."""
    return run(configured(SMALL), out=tmp_path_factory.mktemp("plain") / "run")


def words(service: Served, out: Path) -> tuple[str, ...]:
    """Return the command that runs the small configuration."""
    settings = [f"{name}={str(value).lower()}" for name, value in SMALL.items()]
    single = [word for setting in settings for word in ("--set", setting)]
    return ("run", *service.words, *single, "--quiet", "--out", str(out))


def disturbed(
    out: Path, faults: Faults, *, model: ChatModel | None = None, **settings: Any
) -> tuple[Summary, Served]:
    """Run against a service with *faults* and return what came of it, and what it met."""
    server = Server(model or EmbeddedModel(), Behaviour(faults=faults))
    with served(server) as service:
        return run(configured(SMALL, service.remote, settings), out=out), service


def check_undisturbed(summary: Summary, plain: Summary, service: Served) -> None:
    """Assert that a run came to the same, and that every call was answered just once."""
    assert (summary.digest, summary.failed_calls) == (plain.digest, 0)
    assert service.answered - plain.calls in range(PROBES + 1)  # those before it may be refused


# -- what comes and goes

MATRIX = [
    {"rate_limit": 0.2},
    {"rate_limit_told": 0.2},
    {"drop": 0.2},
    {"truncated": 0.05},
    {"error": 0.05, "unavailable": 0.05},
    {"cut": 0.1},
    {"wrong": 0.04, "empty": 0.04},
    {"rate_limit_told": 0.1, "drop": 0.05, "cut": 0.03, "truncated": 0.03, "error": 0.03},
]


@pytest.mark.parametrize("rates", MATRIX, ids=" and ".join)
def test_faults_leave_no_mark(rates: dict[str, float], plain: Summary, tmp_path: Path) -> None:
    """Whatever share of the calls fails, the run comes to the digest of an undisturbed one."""
    summary, service = disturbed(tmp_path / "run", Faults(rates=rates, retry_after=0.05))
    assert all(service.met(fault) for fault in rates)
    check_undisturbed(summary, plain, service)


@pytest.mark.slow
@pytest.mark.parametrize("rates", MATRIX, ids=" and ".join)
def test_nor_do_they_where_workers_ask(
    rates: dict[str, float], plain: Summary, tmp_path: Path
) -> None:
    """All calls are made by the run, with one limiter and one budget."""
    faults = Faults(rates=rates, retry_after=0.05)
    summary, service = disturbed(tmp_path / "run", faults, workers=2)
    check_undisturbed(summary, plain, service)


@pytest.mark.parametrize("rates", [MATRIX[0], MATRIX[-1]], ids=" and ".join)
def test_nor_do_they_where_responses_are_asked_for(
    rates: dict[str, float], plain: Summary, tmp_path: Path
) -> None:
    """By the Responses API, as by chat."""
    faults = Faults(rates=rates, retry_after=0.05)
    summary, service = disturbed(tmp_path / "run", faults, api="responses")
    assert all(service.met(fault) for fault in rates)
    check_undisturbed(summary, plain, service)


def test_attempts_stand_in_the_journal_alone(tmp_path: Path) -> None:
    """Every failed attempt, and nothing of it in the trace."""
    _, service = disturbed(tmp_path / "run", Faults(rates={"rate_limit_told": 0.3}, retry_after=0))
    directory = RunDirectory(tmp_path / "run")
    journaled = directory.journal.read_bytes().count(b'"AttemptFailed"')
    assert service.met("rate_limit") - journaled in range(PROBES + 1)
    assert journaled
    assert b"rate_limit" not in directory.trace.read_bytes()


@dataclass
class Outage:
    """The embedded model, whose service is down for a while once so many calls were answered."""

    calls: int = 40
    began: float = 0.0
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.calls -= 1
        if not self.calls:
            self.began = time.monotonic()
        return await self.model.reply(request)

    def clock(self) -> float:
        """Stand still until the outage begins."""
        return time.monotonic() - self.began if self.began else 0.0


def test_an_outage_leaves_no_mark(plain: Summary, tmp_path: Path) -> None:
    """Every connection is dropped for a while in the middle of the run."""
    model = Outage()
    behaviour = Behaviour(faults=Faults(outages=((1e-9, 1.0),)))
    with served(Server(model, behaviour, clock=model.clock)) as service:
        summary = run(configured(SMALL, service.remote), out=tmp_path / "run")
    assert service.met("drop")
    assert summary.seconds >= 0.5
    check_undisturbed(summary, plain, service)


# -- what takes long


@dataclass
class Timed:
    """The embedded model, which notes when it replied to which call."""

    times: dict[int, float] = field(default_factory=dict)
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.times[request.seed] = time.monotonic()
        return await self.model.reply(request)

    def replies_within(self, seconds: float, call: Call) -> int:
        """Return how many calls were replied to in so many seconds after *call* was."""
        start = self.times[call_seed(0, call)]
        return sum(start < at < start + seconds for at in self.times.values())


def check_others_go_on(out: Path, plain: Summary, slow: float) -> None:
    """Assert that a third of all calls ended while a slow one was waited for."""
    model = Timed()
    faults = Faults(rates={"slow": 0.01}, slow=slow)
    # With this seed it is the 18th call that came and the 45th.
    behaviour = Behaviour(latency=Latency(0.005), faults=faults, seed=17)
    with served(Server(model, behaviour)) as service:
        summary = run(configured(SMALL, service.remote), out=out)
    ends = read_journal(RunDirectory(out).journal).values()
    late = [ended for ended in ends if ended.latency >= slow]
    assert summary.digest == plain.digest
    assert service.met("slow") == len(late) == 2
    calls = [Call(0, one.user, one.session, one.step, one.role, one.occurrence) for one in late]
    assert max(model.replies_within(slow, call) for call in calls) >= plain.calls / 3


def test_slow_replies_hold_nobody_back(plain: Summary, tmp_path: Path) -> None:
    """While one call in a hundred waits for its reply, the others go on."""
    check_others_go_on(tmp_path / "run", plain, slow=1.5)


# -- what stops a run, and how it goes on


def test_a_refused_key_costs_nothing(
    plain: Summary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the middle and between retries: one sentence at once, then the undisturbed digest."""
    faults = Faults(rates={"rate_limit_told": 0.2}, retry_after=0.05, refuse_after=50)
    with served(Server(EmbeddedModel(), Behaviour(faults=faults))) as service:
        said = Shell(capsys).billp(*words(service, tmp_path / "run"))
    sentence, hint = said.err.splitlines()
    assert (said.status, said.out) == (2, "")
    assert sentence == f"billp: {service.url} refuses the key with 401"
    assert hint.endswith(f"billp resume {tmp_path / 'run'}")
    assert 1 <= service.outcomes["401"] <= 16  # what was in flight, and nothing twice
    known = len(read_journal(RunDirectory(tmp_path / "run").journal))
    with served() as other:
        finished = resume(tmp_path / "run", settings=[{"base_url": other.url}])
    assert finished is not None
    assert (finished.digest, other.answered) == (plain.digest, plain.calls - known + PROBES)


REPLIES = 30


@dataclass
class Ill:
    """The embedded model, which after so many replies has nothing but errors until it is well."""

    replies: int = REPLIES + PROBES
    refusals: int = 0
    well: bool = False
    seen: threading.Event = field(default_factory=threading.Event)
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if not self.well and not self.replies:
            self.refusals += 1
            if self.refusals == 10:  # by eight calls: some were tried again
                self.seen.set()
            raise RefusedRequestError(503, "Not now.", kind="server_error")
        self.replies -= not self.well
        return await self.model.reply(request)


def wait_for_calls(directory: RunDirectory, count: int) -> None:
    """Return when so many calls are in the journal: replies may still be on their way."""
    end = time.monotonic() + PATIENCE
    while len(read_journal(directory.journal)) < count:
        assert time.monotonic() < end
        time.sleep(0.01)


def interrupted(model: Ill, service: Served, out: Path) -> Said:
    """Press Ctrl-C while all calls wait to be tried again; return what is said."""
    with living(partial(typed, out.parent, words(service, out)), out) as process:
        assert model.seen.wait(PATIENCE)
        wait_for_calls(RunDirectory(out), REPLIES)  # all that were answered in the run
        process.send(signal.SIGINT)
        return process.ended()


def test_ctrl_c_during_retries_costs_nothing(plain: Summary, tmp_path: Path) -> None:
    """No call fails because of it; resumed, the run comes to the undisturbed digest."""
    model, out = Ill(), tmp_path / "run"
    with served(Server(model)) as service:
        said = interrupted(model, service, out)
        ends = read_journal(RunDirectory(out).journal)
        model.well = True
        finished = resume(out)
    go_on = f"  go on with: billp resume {out}\n"
    sentence = f"billp: interrupted; everything so far is in {out}\n{go_on}"
    assert said == Said(130, "", sentence)
    assert (len(ends), {ended.error for ended in ends.values()}) == (REPLIES, {None})
    assert finished is not None
    assert (finished.digest, service.answered) == (plain.digest, plain.calls + 2 * PROBES)


def test_a_spent_budget_among_faults_costs_nothing(plain: Summary, tmp_path: Path) -> None:
    """Calls that wait to be tried again are waited for; each is answered just once."""
    faults = Faults(rates={"rate_limit_told": 0.2, "cut": 0.05}, retry_after=0.05)
    with served(Server(EmbeddedModel(), Behaviour(faults=faults))) as service:
        with pytest.raises(BudgetError):
            run(configured(SMALL, service.remote, {"max_calls": 50}), out=tmp_path / "run")
        assert service.answered - 50 in range(PROBES + 1)
        finished = resume(tmp_path / "run", settings=[{"max_calls": 0}])
    assert finished is not None
    assert finished.digest == plain.digest
    assert service.met("rate_limit")
    assert service.answered - plain.calls in range(2 * PROBES + 1)


# -- as it takes long in earnest


@dataclass
class Process:
    """`billp serve` in a process of its own, which can go down for some seconds."""

    down: float = 5.0
    url: str = ""
    port: int = 0
    actions: int = 0
    hears: Any = ActionTaken
    live: bool = True
    process: "subprocess.Popen[str] | None" = None
    timer: threading.Timer | None = None

    def start(self) -> None:
        command = "import typer, sim.commands.serve as s; typer.run(s.serve)"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command, "--port", str(self.port), "--latency", "fixed:20"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split(" at ")[1].split()[0]
        self.port = int(self.url.rpartition(":")[2].removesuffix("/v1"))

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def __call__(self, live: object) -> None:
        """Go down at the tenth action, and come back."""
        self.actions += 1
        if self.actions == 10:
            self.stop()
            self.timer = threading.Timer(self.down, self.start)
            self.timer.start()


@pytest.mark.slow
def test_a_service_that_is_started_anew_leaves_no_mark(plain: Summary, tmp_path: Path) -> None:
    """Its process is killed in the middle; for five seconds nobody listens."""
    service = Process()
    service.start()
    try:
        summary = run(
            configured(SMALL, {"model": "openai/embedded", "base_url": service.url}),
            out=tmp_path / "run",
            listeners=Listeners({"outage": service}),
        )
    finally:
        if service.timer is not None:
            service.timer.join()
        service.stop()
    assert summary.seconds >= service.down
    assert (summary.digest, summary.failed_calls) == (plain.digest, 0)
    assert b'"connection"' in RunDirectory(tmp_path / "run").journal.read_bytes()


@pytest.mark.slow
def test_replies_after_thirty_seconds_hold_nobody_back(plain: Summary, tmp_path: Path) -> None:
    """As the issue asks for it: 30 s for one call in a hundred."""
    check_others_go_on(tmp_path / "run", plain, slow=30.0)


@pytest.mark.slow
@pytest.mark.parametrize("rates", MATRIX, ids=" and ".join)
def test_many_calls_survive_as_well(rates: dict[str, float], tmp_path: Path) -> None:
    """A thousand calls meet every fault by the dozen."""
    many: dict[str, Any] = {"episodes": 100, "limit": 8, "concurrency": 64}
    undisturbed = run(configured(SMALL, many), out=tmp_path / "plain")
    faults = Faults(rates=rates, retry_after=0.05)
    summary, service = disturbed(tmp_path / "run", faults, **many)
    assert all(service.met(fault) >= 20 for fault in rates)
    check_undisturbed(summary, undisturbed, service)
