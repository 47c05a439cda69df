"""Which models are at hand: the built-in one, files and packages of this machine, services."""

import json
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path

import msgspec

from agents.models.local.gguf import SUFFIX, read_weights
from agents.models.local.packaged import WEIGHTS
from agents.models.model import ChatMessage, ChatModel, ChatRequest, Sampling
from agents.models.providers import EMBEDDED, LOCAL, Way
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.failures import shown
from agents.models.remote.opening import account_on
from agents.models.remote.service import Service
from engine.calls import Call
from engine.errors import ConfigError, ModelError

UNKNOWN, YES, NO = "?", "yes", "no"
OURS = "ours"
"""The built-in model writes the forms that billp asks for, and no others."""

ALONE = "one slot"
"""Seeds count for a model of this machine as long as nothing is computed beside a call."""

_SCHEMA = '{"type":"object","properties":{"n":{"enum":[7]}},"required":["n"]}'


class AtHand(msgspec.Struct, frozen=True, kw_only=True):
    """A model: what `--model` calls it, *where* it is, and its *context* in tokens, 0 if unknown.

    *schemas* says whether it keeps to a JSON schema, *seeds* whether a seed decides its reply:
    `yes`, `no`, `ours`, `one slot`, or `?`. *lacks* is what is to be typed before it can be used.
    """

    model: str
    where: str
    bytes: int = 0
    context: int = 0
    schemas: str = UNKNOWN
    seeds: str = UNKNOWN
    lacks: str = ""


def of_this_machine(folder: Path) -> Iterator[AtHand]:
    """Yield the built-in model, those that packages bring, and the GGUF files of a *folder*."""
    yield AtHand(model=EMBEDDED, where="built in", schemas=OURS, seeds=YES)
    for name in WEIGHTS:
        part = WEIGHTS.named(name)
        path = part.file()
        if path is not None:
            yield _file(f"{LOCAL}/{name}", f"package {part.module}", path)
        else:
            where = f"package {part.module}" if part.here else "not installed"
            # One that is there and in parts is put together when it is first used.
            lacks = "" if part.here else part.install
            yield AtHand(model=f"{LOCAL}/{name}", where=where, lacks=lacks)
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(ConfigError):  # what is no model is none that is at hand
            yield _file(f"{LOCAL}/{path}", "file", path)


def _file(model: str, where: str, path: Path) -> AtHand:
    weights = read_weights(path)
    lacks = "" if weights.template else "--set local.template=chatml, or another"
    return AtHand(
        model=model,
        where=where,
        bytes=weights.size,
        context=weights.context,
        schemas=YES,
        seeds=ALONE,
        lacks=lacks,
    )


async def asked(model: ChatModel, one: AtHand) -> AtHand:
    """Return what four calls find: whether *model* keeps to a schema, and whether seeds decide."""
    name = one.model.partition("/")[2]
    form = await _said(model, _ask(name, "Give me the number 3.", 1, _SCHEMA))
    told = [await _said(model, _ask(name, "Tell me a story.", seed)) for seed in (1, 1, 2)]
    return msgspec.structs.replace(one, schemas=_keeps(form), seeds=_decide(*told))


async def _said(model: ChatModel, request: ChatRequest) -> str | None:
    """Return what a model says, None where it refuses to say something."""
    try:
        return (await model.reply(request)).text
    except ModelError:
        return None


def _keeps(text: str | None) -> str:
    try:
        return YES if text is not None and json.loads(text) == {"n": 7} else NO
    except ValueError:
        return NO


def _decide(first: str | None, again: str | None, other: str | None) -> str:
    """Tell whether the same seed said the same, and another something else."""
    if first is None or other is None:
        return UNKNOWN
    if first != again:
        return NO
    return UNKNOWN if first == other else YES  # one that always says the same shows nothing


def _ask(name: str, text: str, seed: int, schema: str = "") -> ChatRequest:
    return ChatRequest(
        call=Call(episode=0, user=0, session=0, step=0, role="stranger", occurrence=seed),
        sampling=Sampling(model=name, temperature=1.0, max_tokens=24),
        messages=(ChatMessage(role="user", content=text),),
        seed=seed,
        schema=schema,
    )


async def of_service(way: Way, *, asking: bool) -> list[AtHand]:
    """Return what the service on a *way* offers; raises ModelErrors.

    Its schemas and seeds are found by *asking*, which costs four short calls a model.
    """
    account = account_on(way, connections=1)
    async with aclosing(Service(account)) as service:
        offers = await service.offers()
    listed = [
        AtHand(model=f"openai/{name}", where=shown(account.url), context=context)
        for name, context in sorted(offers.items())
    ]
    if not asking:
        return listed
    async with OpenAIModel(account) as model:
        return [await asked(model, one) for one in listed]
