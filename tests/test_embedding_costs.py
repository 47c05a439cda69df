"""What embeddings of a service cost: counted, limited, remembered, and handed down to forks."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.embeddings import hashed
from agents.models.budget import Price
from agents.models.embedded import EmbeddedModel
from agents.models.embedding_model import ROLE, encoded
from agents.models.model import ChatReply, ChatRequest
from engine.errors import BudgetError, ConfigError
from sim.config import RunConfig
from sim.estimate import estimate
from sim.fork import fork
from sim.layers import configured
from sim.resume import resume
from sim.run import run
from storage.runs import RunDirectory
from storage.vectors import VectorEntry, read_vectors

TOKENS = 7
FEW: dict[str, Any] = {
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
    """The embedded model, and vectors at `TOKENS` a text; *drifting* ones are never the same."""

    drifting: bool = False
    model: EmbeddedModel = field(default_factory=EmbeddedModel)
    texts: Counter[str] = field(default_factory=Counter)
    chats: int = 0

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.role != ROLE:
            self.chats += 1
            return await self.model.reply(request)
        text = request.messages[0].content
        self.texts[text] += 1
        lines = (text, str(self.texts.total())) if self.drifting else (text,)
        vector = encoded(hashed(lines))
        return ChatReply(text=vector, prompt_tokens=TOKENS, completion_tokens=0)


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
