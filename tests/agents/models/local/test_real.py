"""A real model: loaded in this process, asked, and asked again."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from agents.models.chain import ModelSettings, RoleModel, open_models
from agents.models.guards.limiter import Limits
from agents.models.model import ChatMessage, ChatReply, ChatRequest, Sampling
from agents.models.providers import Way
from agents.settings import LocalSettings
from engine.calls import Call
from engine.errors import CallFailedError, ConfigError
from sim.config.layers import configured
from sim.runs.resume import resume
from sim.runs.run import run
from storage.runs import open_run
from storage.traces import digest_of
from tests.support.gguf import real_model

pytestmark = pytest.mark.slow

SHORT = {"max_tokens": 6}
LIVE = {
    "agent": "act-only",
    "episodes": 2,
    "limit": 1,
    "history": 2,
    "arrivals": "all",
    "actor": {"candidates": 3, "recall_count": 0, "taste": False, **SHORT},
}


def ask(text: str, seed: int = 1, schema: str = "", most: int = 8) -> ChatRequest:
    return ChatRequest(
        call=Call(0, 0, 0, 0, "stranger", seed),
        sampling=Sampling(model="smollm2", temperature=0.9, max_tokens=most),
        messages=(ChatMessage(role="user", content=text),),
        seed=seed,
        schema=schema,
    )


def answers(local: LocalSettings, *requests: ChatRequest) -> list[ChatReply | BaseException]:
    """Return what the model says to *requests*, all in flight at once."""
    settings = ModelSettings(
        roles={"stranger": RoleModel(model=real_model(), way=Way(local=local))},
        limits=Limits(in_flight=4),
    )

    async def main() -> list[ChatReply | BaseException]:
        async with open_models(settings) as doors:
            model = doors["stranger"].model
            return await asyncio.gather(*map(model.reply, requests), return_exceptions=True)

    return asyncio.run(main())


def test_a_schema_is_honoured_and_a_seed_decides() -> None:
    """Replies are of the form that is asked for; another seed is another reply."""
    schema = '{"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}'
    local = LocalSettings(threads=1, context=256, deterministic=True)
    form, *said = answers(
        local, ask("a or b?", schema=schema, most=40), *(ask("Tell.", seed) for seed in (1, 1, 2))
    )
    texts = [one.text for one in said if isinstance(one, ChatReply)]
    assert isinstance(form, ChatReply)
    assert json.loads(form.text)["a"] in {"x", "y"}
    assert texts[0] == texts[1] != texts[2]


def test_a_prompt_beyond_the_context_fails_alone() -> None:
    """Its call is too long, for good; the others are answered."""
    local = LocalSettings(threads=1, context=256, slots=2)
    long, short = answers(local, ask("word " * 300), ask("Hi"))
    assert isinstance(long, CallFailedError)
    assert (long.kind, isinstance(short, ChatReply)) == ("too_long", True)


def test_a_template_that_is_none_is_told() -> None:
    """Before a run begins."""
    with pytest.raises(ConfigError, match=r"llama\.cpp cannot load it with this template"):
        answers(LocalSettings(threads=1, context=64, template="{{ nonsense"))


def test_a_template_has_the_text_of_one_or_a_name() -> None:
    """By a name that llama.cpp knows the prompt is read, all of it; another is told beforehand."""
    (said,) = answers(LocalSettings(threads=1, context=256, template="gemma"), ask("word " * 50))
    assert isinstance(said, ChatReply)
    assert said.prompt_tokens > 50
    with pytest.raises(ConfigError, match="knows no chat template 'nonsense'"):
        answers(LocalSettings(threads=1, context=64, template="nonsense"))


def test_a_live_run_has_one_digest(tmp_path: Path) -> None:
    """Live twice, with one call in flight and with eight: the same bytes, where it is asked for.

    What it was computed of stands in run.toml and in the summary, and the run can be resumed.
    """
    local = {"deterministic": True, "threads": 1, "context": 2_048}
    base = configured(LIVE, {"model": real_model(), "local": local})
    runs = [
        run(msgspec.structs.replace(base, concurrency=calls), out=tmp_path / f"at-{calls}")
        for calls in (1, 8)
    ]
    assert runs[0].digest == runs[1].digest
    digest = runs[0].weights["smollm2"]
    directory = open_run(tmp_path / "at-8")
    assert directory.read_config()["local"]["digests"] == [f"smollm2={digest}"]
    assert directory.read_summary()["weights"] == runs[1].weights
    directory.summary.unlink()
    resume(tmp_path / "at-8")
    assert digest_of(directory.trace) == runs[0].digest
