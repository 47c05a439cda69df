"""How well a real model answers in each form: `pytest tests/bench/test_bench_forms.py -s`.

The prompts are those that the actor and the critic are asked in a run with the embedded model, so
they are the same for every form; asked are they one after the other, with one slot, by form in
turns, so that each prompt is read once. *read* is the share of replies that could be read at the
first attempt, *exact* the share of actions that name a candidate to the letter.
"""

import asyncio
import sys
import time
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import msgspec
import pytest

from agents.billp import actor, critic
from agents.grammar import Grammar
from agents.models.embedded import EmbeddedModel
from agents.models.local.opening import PROVIDER
from agents.models.model import ChatReply, ChatRequest
from agents.models.providers import Opening, Way
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.forms import FORMS
from agents.prompts import SEPARATOR, sections
from agents.settings import LocalSettings
from engine.errors import UnreadableReplyError
from sim.config.layers import configured
from sim.runs.run import run
from tests.support.gguf import real_model

MODEL = "smollm2"
PROMPTS = 16
ROLES: dict[str, tuple[Grammar[Any], Grammar[Any]]] = {
    "actor": (actor.PLAIN, actor.STRUCTURED),
    "critic": (critic.PLAIN, critic.STRUCTURED),
}


@dataclass
class Asked:
    """The embedded model, and what it was asked."""

    requests: dict[str, list[ChatRequest]] = field(default_factory=dict)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.requests.setdefault(request.call.role, []).append(request)
        return await EmbeddedModel().reply(request)


@dataclass
class Tried:
    """What came of a form: replies that were read, actions to the letter, tokens, seconds."""

    read: list[bool] = field(default_factory=list)
    exact: list[bool] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def line(self, role: str, form: str) -> str:
        exact = f"{fmean(self.exact):6.0%}" if self.exact else "     –"
        told = f"{fmean(self.read):6.0%} {exact} {fmean(self.tokens):7.1f}"
        return f"{role:7} {form:12} {told} {fmean(self.seconds):8.2f}"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[ChatRequest]]:
    """Prompts of a run, by role, as far apart as there are."""
    model = Asked()
    settings = {"episodes": 8, "arrivals": "batches:4", "prompts": False}
    run(configured(settings), out=tmp_path_factory.mktemp("runs") / "run", model=model)
    return {role: every[:: max(1, len(every) // PROMPTS)] for role, every in model.requests.items()}


def in_words(request: ChatRequest) -> ChatRequest:
    """Return the same request, asked in words."""
    plain, structured = ROLES[request.call.role]
    system = request.messages[0]
    text = system.content.replace(structured.words, plain.words)
    asked = (msgspec.structs.replace(system, content=text), *request.messages[1:])
    return msgspec.structs.replace(request, messages=asked, schema="")


def titles(request: ChatRequest) -> set[str]:
    parts = sections(request.messages[-1].content)
    lines = [*parts.get("Candidates", ()), *parts.get("Encouraged in like states", ())]
    return {line.removeprefix("- ").split(SEPARATOR)[0] for line in lines}


def answered(request: ChatRequest, reply: ChatReply) -> tuple[bool, bool]:
    """Return whether a reply can be read, and whether it names a candidate to the letter."""
    plain, structured = ROLES[request.call.role]
    try:
        answer = (structured if request.schema else plain).read(reply.text)
    except UnreadableReplyError:
        return False, False
    return True, answer in titles(request)


async def tried(model: OpenAIModel, request: ChatRequest, told: Tried) -> None:
    began = time.perf_counter()
    reply = await model.reply(request)
    told.seconds.append(time.perf_counter() - began)
    told.tokens.append(reply.completion_tokens)
    read, exact = answered(request, reply)
    told.read.append(read)
    if request.call.role == "actor":
        told.exact.append(exact)


async def all_tried(asked: dict[str, list[ChatRequest]]) -> dict[tuple[str, str], Tried]:
    found = {(role, form): Tried() for role in ROLES for form in ("words", *FORMS)}
    way = Way(local=LocalSettings(slots=1))
    async with PROVIDER.opens(Opening((MODEL,), way, 1, said=(MODEL,))) as door:
        assert isinstance(door.model, OpenAIModel)
        for role in ROLES:
            for one in asked[role][:PROMPTS]:
                sampling = msgspec.structs.replace(one.sampling, model=MODEL)
                request = msgspec.structs.replace(one, sampling=sampling)
                await tried(door.model, in_words(request), found[role, "words"])
                for form in FORMS:
                    door.model.take_form(MODEL, form)
                    await tried(door.model, request, found[role, form])
    return found


def test_each_form(asked: dict[str, list[ChatRequest]]) -> None:
    real_model()
    found = asyncio.run(all_tried(asked))
    lines = [told.line(role, form) for (role, form), told in found.items()]
    head = (
        f"{MODEL}, {PROMPTS} prompts a role",
        "role    form           read  exact  tokens  seconds",
    )
    sys.stdout.write("\n".join(("", *head, *lines, "")))
    assert fmean(found["actor", "json_schema"].exact) == 1.0
