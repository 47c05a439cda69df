"""What embeddings of a service cost: counted, limited, remembered, and handed down to forks."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest

from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.guards.budget import Price
from agents.models.model import ChatReply, ChatRequest
from agents.models.remote.vectors import ROLE, encoded
from engine.errors import BudgetError, CallFailedError, ConfigError, FileError, ServiceError
from sim.config.layers import configured
from sim.config.run import RunConfig
from sim.experiments.estimate import estimate
from sim.runs.fork import fork
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.runs.run import run
from storage.journal import read_journal
from storage.runs import RunDirectory
from storage.vectors import VectorEntry, read_vectors
from tests.support.shell import tree
from tests.support.small import PLAIN

TOKENS = 7
FEW: dict[str, Any] = {
    **PLAIN,
    "episodes": 6,
    "arrivals": "batches:2",
    "limit": 6,
    "fsync": "none",
    "embeddings": "openai/small",
    "prices": {
        "embedded": {"prompt": 0, "completion": 0},
        "small": {"prompt": 10, "completion": 0},
    },
}
PRICE = Price(prompt=10, completion=0)


@dataclass(eq=False)
class Service:
    """The embedded model, and vectors at `TOKENS` a text; *drifting* ones are never the same.

    An *ill* one fails for every third text; the *last* text is the last before it is gone.
    """

    drifting: bool = False
    model: EmbeddedModel = field(default_factory=EmbeddedModel)
    texts: Counter[str] = field(default_factory=Counter)
    chats: int = 0
    answered: int = 0
    ill: bool = False
    last: int = 1 << 60

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.role != ROLE:
            self.chats += 1
            return await self.model.reply(request)
        text = request.messages[0].content
        if self.texts.total() >= self.last:
            raise ServiceError("the service is gone")
        self.texts[text] += 1
        if self.ill and is_unlucky(text):
            raise CallFailedError("no vector", kind="server")
        self.answered += 1
        lines = (text, str(self.texts.total())) if self.drifting else (text,)
        vector = encoded(hashed(lines))
        return ChatReply(text=vector, prompt_tokens=TOKENS, completion_tokens=0)


def key(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def is_unlucky(text: str) -> bool:
    return crc32(text.encode()) % 3 == 0


def few(**settings: Any) -> RunConfig:
    return configured(FEW, settings)


def vectors(run: Path) -> dict[str, VectorEntry]:
    known, _ = read_vectors(RunDirectory(run).vectors)
    return known


def test_they_cost_what_their_model_costs(tmp_path: Path) -> None:
    """Each text once."""
    service = Service()
    summary = run(few(), model=service, out=tmp_path / "run")
    assert service.texts.most_common(1)[0][1] == 1
    assert summary.cost == pytest.approx(PRICE.cost(TOKENS * service.texts.total(), 0))


@pytest.mark.parametrize(
    ("setting", "tenth"), [("max_calls", 20), ("max_tokens_total", 3_000), ("max_cost", 0.0005)]
)
def test_budgets_hold_for_them_over_all_processes(
    setting: str, tenth: float, tmp_path: Path
) -> None:
    """Whoever goes on bit by bit pays for no text twice, and no more than allowed."""
    whole = Service()
    plain = run(few(), model=whole, out=tmp_path / "plain")
    service, out, stops = Service(), tmp_path / "run", 0
    with pytest.raises(BudgetError, match=setting):
        run(few(**{setting: tenth}), model=service, out=out)
    while True:
        stops += 1
        spent = {
            "max_calls": service.chats + service.texts.total(),
            "max_tokens_total": TOKENS * service.texts.total(),
            "max_cost": PRICE.cost(TOKENS * service.texts.total(), 0),
        }
        assert spent[setting] <= stops * tenth
        try:
            summary = resume(out, settings=[{setting: (stops + 1) * tenth}], model=service)
        except BudgetError:
            continue
        break
    assert stops > 2
    assert summary is not None
    assert (summary.digest, summary.cost) == (plain.digest, plain.cost)
    assert service.texts == whole.texts


def test_a_fork_inherits_its_parents_vectors(tmp_path: Path) -> None:
    """A service that drifts would lead it astray before the fork; and it need not pay again."""
    service = Service(drifting=True)
    run(few(), model=service, out=tmp_path / "parent")
    known = vectors(tmp_path / "parent")
    forking = Service(drifting=True)
    changes = [{"limit": 12, "prices": FEW["prices"]}]
    summary = fork(
        tmp_path / "parent", (3, 1), settings=changes, model=forking, out=tmp_path / "fork"
    )
    inherited = vectors(tmp_path / "fork")
    assert {text: inherited[text].vector for text in known} == {
        text: entry.vector for text, entry in known.items()
    }
    assert not set(forking.texts) & set(service.texts)
    new = [entry for entry in inherited.values() if entry.attempts]
    assert len(new) == forking.texts.total() == len(inherited) - len(known) > 0
    assert summary.cost == pytest.approx(PRICE.cost(TOKENS * len(new), 0))


# -- vectors that failed


@pytest.fixture
def failed(tmp_path: Path) -> Path:
    """A finished run whose service had no vector for some texts."""
    run(few(), model=Service(ill=True), out=tmp_path / "run")
    assert any(entry.vector is None for entry in vectors(tmp_path / "run").values())
    return tmp_path / "run"


def test_vectors_that_failed_may_be_asked_again(failed: Path, tmp_path: Path) -> None:
    """With a healthy service the run ends as if none had ever failed; the others are kept."""
    kept = {entry.text for entry in vectors(failed).values() if entry.vector is not None}
    service = Service()
    plain = run(few(), model=Service(), out=tmp_path / "plain")
    summary = resume(failed, model=service, retry_failed=True)
    assert summary is not None
    assert summary.digest == plain.digest
    assert not kept & {key(text) for text in service.texts}
    assert replay(failed).agrees


@pytest.mark.parametrize("last", [0, 1, 4])
def test_a_retry_that_stopped_goes_on_with_vectors(last: int, failed: Path, tmp_path: Path) -> None:
    """What had failed before is asked, though nobody says again that it should be."""
    plain = run(few(), model=Service(), out=tmp_path / "plain")
    with pytest.raises(ServiceError):
        resume(failed, model=Service(last=last), retry_failed=True)
    summary = resume(failed, model=Service())
    assert summary is not None
    assert summary.digest == plain.digest


def test_vectors_that_fail_again_have_failed(failed: Path) -> None:
    """Until somebody wants a retry again: a resume lives with them."""
    digest = RunDirectory(failed).read_summary()["digest"]
    again = Service(ill=True)
    resume(failed, model=again, retry_failed=True)
    RunDirectory(failed).summary.unlink()
    summary = resume(failed, model=Service(last=0))
    assert summary is not None
    assert summary.digest == digest
    assert again.texts
    assert all(map(is_unlucky, again.texts))


def test_a_failed_vector_keeps_its_place_if_vectors_are_damaged(failed: Path) -> None:
    """Nothing is deleted for a retry that cannot be."""
    directory = RunDirectory(failed)
    directory.vectors.write_bytes(b"nonsense\n")
    before = tree(failed)
    with pytest.raises(FileError, match=r"vectors\.jsonl:1: not a vector: "):
        resume(failed, model=Service(), retry_failed=True)
    assert tree(failed) == before


class Charging(Service):
    """A service whose chats have tokens as well."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        reply = await super().reply(request)
        return msgspec.structs.replace(reply, prompt_tokens=TOKENS)


def test_what_was_paid_for_twice_counts_twice(tmp_path: Path) -> None:
    """Also the calls that a retry asked again because what they were asked had changed."""
    directory = RunDirectory(tmp_path / "run")
    config = few(
        prices={"embedded": {"prompt": 10, "completion": 0}, "small": FEW["prices"]["small"]}
    )
    services = Charging(ill=True), Charging(), Charging(last=0)
    run(config, model=services[0], out=directory.path)
    resume(directory.path, model=services[1], retry_failed=True)
    directory.summary.unlink()
    summary = resume(directory.path, model=services[2])
    paid = sum(one.chats + one.answered for one in services)
    assert summary is not None
    assert summary.cost == pytest.approx(PRICE.cost(TOKENS * paid, 0))
    assert services[2].chats == 0


def test_a_retry_cannot_spend_what_is_spent(failed: Path) -> None:
    """Neither calls nor texts that were asked again are forgotten by who goes on."""
    directory, retrying, later = RunDirectory(failed), Service(), Service()
    paid = len(read_journal(directory.journal)) + len(vectors(failed))
    with pytest.raises(BudgetError, match="max_calls"):
        resume(failed, settings=[{"max_calls": paid + 30}], model=retrying, retry_failed=True)
    with pytest.raises(BudgetError, match=f"has made {paid + 30} calls"):
        resume(failed, model=later)
    assert (retrying.chats + retrying.answered, later.chats + later.answered) == (30, 0)


def test_a_limited_cost_needs_their_price(tmp_path: Path) -> None:
    prices = {"embedded": FEW["prices"]["embedded"]}
    config = configured({**FEW, "prices": prices, "max_cost": 1.0, "model": "openai/embedded"})
    with pytest.raises(ConfigError, match="max_cost is set, but 'small' has no price"):
        run(config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_dry_run_counts_them() -> None:
    """About a token for four characters of each text that is not known yet."""
    told = estimate(few())
    assert told.roles[ROLE].model == "small"
    assert told.roles[ROLE].prompt_tokens > told.roles[ROLE].calls > 0
    assert told.cost == pytest.approx(PRICE.cost(told.roles[ROLE].prompt_tokens, 0))
    assert estimate(few(embeddings="hashing")).calls == told.calls - told.roles[ROLE].calls


def test_a_dry_run_of_a_large_run_scales_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the visits, of which a part is tried."""
    monkeypatch.setattr("sim.experiments.trial._STAGES", ((60, 4.0),))
    told = estimate(few(episodes=30_000, limit=2))
    assert told.sample < told.episodes
    shares = {role: one.calls / told.episodes for role, one in told.roles.items()}
    assert 0.5 < shares[ROLE] / shares["planner"] < 3
