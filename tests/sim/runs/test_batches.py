"""Runs whose critic and reflector are answered in batches: the same traces, all paid once."""

import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest, call_seed
from agents.models.serving.desk import Unhurried
from agents.models.serving.faults import Faults
from agents.models.serving.server import Behaviour, Server
from engine.calls import Call
from engine.errors import ConfigError, ServiceError
from sim.config.layers import configured
from sim.experiments.estimate import estimate
from sim.metrics.summary import Summary
from sim.runs.resume import resume
from sim.runs.run import run
from sim.verification.verify import verify
from storage.batches import read_batches
from storage.journal import read_journal
from storage.runs import RunDirectory
from tests.support.dying import Death, in_own_process, typed
from tests.support.served import Served, served

SMALL: dict[str, Any] = {
    "episodes": 8,
    "limit": 3,
    "arrivals": "batches:4",
    "prompts": False,
    "fsync": "none",
}
IN_BATCHES: dict[str, Any] = {
    "critic": {"tier": "batch"},
    "reflector": {"tier": "batch"},
    "batch_wait": 0.05,
    "batch_poll": 0.02,
}
PRICED: dict[str, Any] = {"prices": {"embedded": {"prompt": 1.0, "completion": 1.0}}}
FAULTY = Faults(rates={"error": 0.1, "drop": 0.1, "truncated": 0.1, "rate_limit": 0.1})


@dataclass
class Asked:
    """The embedded model, which counts what it is asked, by the seeds of calls."""

    seeds: Counter[int] = field(default_factory=Counter)
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.seeds[request.seed] += 1
        return await self.model.reply(request)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, RunDirectory]:
    """The same run, in this process, and where it is."""
    out = tmp_path_factory.mktemp("plain") / "run"
    return run(configured(SMALL), out=out), RunDirectory(out)


@pytest.fixture(scope="module")
def digest(plain: tuple[Summary, RunDirectory]) -> str:
    return plain[0].digest


def server(behaviour: Behaviour | None = None, model: Asked | None = None) -> Server:
    return Server(
        model or EmbeddedModel(),
        behaviour,
        names=("embedded", "hashing"),
        embed=lambda text: hashed(text.splitlines()).tolist(),
    )


def batched(service: Served, out: Path, **more: Any) -> Summary:
    return run(configured(SMALL, service.remote, IN_BATCHES, more), out=out)


def begin(url: str, out: Path) -> None:
    """Run in batches; a function that another process can do."""
    run(configured(SMALL, {"model": "openai/embedded", "base_url": url}, IN_BATCHES), out=out)


def test_a_batch_leaves_no_mark(digest: str, tmp_path: Path) -> None:
    """The same bytes, one batch for each lot of visitors, all calls answered once."""
    with served(server()) as service:
        assert batched(service, tmp_path / "run").digest == digest
    sent, _ = read_batches(tmp_path / "run" / "batches.jsonl")
    assert [(one.ended, one.batch != "") for one in sent] == [(True, True)] * 2


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_everything_may_go_in_batches(api: str, digest: str, tmp_path: Path) -> None:
    """Also what users wait for, and by the Responses API, too."""
    roles = ("planner", "actor", "critic", "reflector")
    everybody = {"api": api, **{role: {"tier": "batch"} for role in roles}}
    with served(server()) as service:
        assert batched(service, tmp_path / "run", **everybody).digest == digest


def test_vectors_go_in_batches_too(tmp_path: Path) -> None:
    """One day for each step, so it is for the patient."""
    how = {"embeddings": "openai/hashing", "episodes": 2}
    with served(server()) as service:
        live = run(configured(SMALL, service.remote, how), out=tmp_path / "live")
        told = batched(service, tmp_path / "run", **how, embedding_tier="batch")
    assert told.digest == live.digest


def test_batches_are_paid_by_half(tmp_path: Path) -> None:
    """And so much is counted for the budget, also of calls made before."""
    with served(server()) as service:
        live = run(configured(SMALL, service.remote, PRICED), out=tmp_path / "live")
        half = batched(service, tmp_path / "run", **PRICED)
    calls = read_journal(tmp_path / "run" / "calls.jsonl").every()
    patient = [one for one in calls if one.role in {"critic", "reflector"}]
    tokens = sum(one.prompt_tokens + one.completion_tokens for one in patient)
    assert live.cost - half.cost == pytest.approx(tokens / 2e6)


def test_a_run_in_batches_is_verified(tmp_path: Path) -> None:
    """Its cost by the prices of tiers, and every line of what was sent."""
    with served(server()) as service:
        batched(service, tmp_path / "run", **PRICED)
    checks = verify(tmp_path / "run")
    assert [check.fault for check in checks if check.fault] == []
    assert next(check.found for check in checks if check.name == "batches") == "2 batches"
    path = tmp_path / "run" / "batches.jsonl"
    path.write_bytes(path.read_bytes().replace(b"completed", b"cancelled", 1))
    told = {check.name: check.fault for check in verify(tmp_path / "run")}
    assert "batches.jsonl:3: no word on a batch" in told["batches"]


def test_faults_of_lines_leave_no_mark(digest: str, tmp_path: Path) -> None:
    """Calls of a batch that failed are sent again in another."""
    with served(server(Behaviour(faults=FAULTY, seed=3))) as service:
        assert batched(service, tmp_path / "run").digest == digest
    sent, _ = read_batches(tmp_path / "run" / "batches.jsonl")
    assert len(sent) > 2


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["error", "drop", "truncated", "rate_limit", "empty", "wrong"])
def test_no_fault_of_lines_leaves_a_mark(fault: str, digest: str, tmp_path: Path) -> None:
    """Each of them, in a third of the calls."""
    with served(server(Behaviour(faults=Faults(rates={fault: 0.33})))) as service:
        assert batched(service, tmp_path / "run").digest == digest


def test_a_batch_that_expires_is_sent_again(digest: str, tmp_path: Path) -> None:
    """As far as it was not done."""
    model = Asked()
    behaviour = Behaviour(batches=Unhurried(expire_after=5))
    with served(server(behaviour, model)) as service:
        assert batched(service, tmp_path / "run").digest == digest
    # 0 is that of the word before a run.
    assert {count for seed, count in model.seeds.items() if seed} == {1}


def deaths() -> list[Death]:
    return [
        Death("batches.jsonl", count, part) for count in range(1, 7) for part in (0.0, 0.5, 1.0)
    ]


def patient_calls(directory: RunDirectory) -> set[int]:
    """Return the seeds of all calls that go in batches."""
    calls = (ended for ended in read_journal(directory.journal).every())
    return {
        call_seed(0, Call(0, one.user, one.session, one.step, one.role, one.occurrence))
        for one in calls
        if one.role in {"critic", "reflector"}
    }


def check_survives(death: Death, plain: tuple[Summary, RunDirectory], place: Path) -> None:
    """Assert that a run that is killed at *death* ends as *plain*, and pays for no batch twice."""
    model, out = Asked(), place / "run"
    with served(server(Behaviour(batches=Unhurried(delay=0.05)), model)) as service:
        said = in_own_process(partial(begin, service.url, out), out, death)
        assert said.status == -death.number, said
        resumed = resume(out)
    assert resumed is not None
    assert resumed.digest == plain[0].digest
    assert {model.seeds[seed] for seed in patient_calls(plain[1])} == {1}


@pytest.mark.parametrize("death", [Death("batches.jsonl", 2), Death("batches.jsonl", 3)])
def test_a_killed_run_collects_its_batch(
    death: Death, plain: tuple[Summary, RunDirectory], tmp_path: Path
) -> None:
    """Also if the service had begun, and the run died before it could write that down."""
    check_survives(death, plain, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "death",
    [*deaths(), *(Death("calls.jsonl", count, 0.5) for count in range(1, 60, 6))],
    ids=lambda death: f"{death.file}-{death.count}-{death.part}",
)
def test_no_instant_is_a_bad_one(
    death: Death, plain: tuple[Summary, RunDirectory], tmp_path: Path
) -> None:
    """The same around every line that is written of batches, and while their replies are."""
    check_survives(death, plain, tmp_path)


def test_a_batch_outlives_an_interrupted_run(
    plain: tuple[Summary, RunDirectory], tmp_path: Path
) -> None:
    """It is named, for it is paid, goes on at the service, and is collected by whoever resumes."""
    model, out = Asked(), tmp_path / "run"
    sent = Death("batches.jsonl", 2, 1.0, signal.SIGINT)
    with served(server(Behaviour(batches=Unhurried(delay=1.0)), model)) as service:
        said = in_own_process(partial(typed, tmp_path, words(service, out)), out, sent)
        assert (said.status, "a service goes on with batch_" in said.err) == (130, True)
        resumed = resume(out)
    assert resumed is not None
    assert resumed.digest == plain[0].digest
    assert {model.seeds[seed] for seed in patient_calls(plain[1])} == {1}


def words(service: Served, out: Path) -> list[str]:
    """Return the command that runs in batches."""
    settings = {**SMALL, "critic.tier": "batch", "reflector.tier": "batch", "batch_wait": 0.05}
    told = [f"{name}={str(value).lower()}" for name, value in settings.items()]
    single = [word for setting in told for word in ("--set", setting)]
    return ["run", *service.words, *single, "--quiet", "--out", str(out)]


def test_a_batch_that_somebody_cancelled_stops_the_run(digest: str, tmp_path: Path) -> None:
    """With a hint; what is left is sent when the run goes on."""
    with served(server(Behaviour(batches=Unhurried(delay=0.5)))) as service:
        revoker = threading.Thread(target=cancel_the_first, args=(service.url,))
        revoker.start()
        with pytest.raises(ServiceError, match=r"was cancelled, with 0 of \d+ calls") as caught:
            batched(service, tmp_path / "run")
        revoker.join()
        assert "in another batch; then: billp resume" in caught.value.hint
        resumed = resume(tmp_path / "run")
    assert resumed is not None
    assert resumed.digest == digest


def cancel_the_first(url: str) -> None:
    """Cancel the first batch that comes."""
    http = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=url, api_key="k", http_client=http) as client:
        while not (listed := client.batches.list().data):
            time.sleep(0.01)
        client.batches.cancel(listed[0].id)


def test_a_tier_needs_a_service() -> None:
    """The embedded model has none."""
    with pytest.raises(ConfigError, match=r"critic\.tier is 'batch', but 'embedded' is at no"):
        estimate(configured(SMALL, IN_BATCHES))


def test_a_batch_that_is_left_is_named(
    plain: tuple[Summary, RunDirectory], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who goes on without batches is told which were paid for nothing."""
    out = tmp_path / "run"
    with served(server(Behaviour(batches=Unhurried(delay=60)))) as service:
        in_own_process(partial(begin, service.url, out), out, Death("batches.jsonl", 2, 1.0))
        live = {"critic": {"tier": "default"}, "reflector": {"tier": "default"}}
        resumed = resume(out, settings=[live])
    assert resumed is not None
    assert resumed.digest == plain[0].digest
    assert "a batch is left where it is" in "".join(capsys.readouterr())
