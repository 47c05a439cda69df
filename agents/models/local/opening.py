"""Opening models of this machine: `local/NAME` of a package, or `local/PATH.gguf`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from agents.models.local.engine import Plan, check_extra, load
from agents.models.local.gguf import SUFFIX, Weights, read_weights
from agents.models.local.packaged import WEIGHTS
from agents.models.local.room import available, check_room, processors
from agents.models.model import ChatModel, ChatReply, ChatRequest
from agents.models.providers import LOCAL, Door, Loading, Opening, Provider, plain_name
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.service import Account
from agents.settings import LocalSettings
from engine.errors import ConfigError, ServiceError

_PIECE = 16 << 20
_ORDINARY = 8_192  # tokens of a slot's context, unless told
_WORTH = 4  # slots of a thread: more take memory, and make little faster


@dataclass(frozen=True)
class ByName:
    """Several models: each call is for the one that it names."""

    models: Mapping[str, ChatModel]

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply of the model that is asked."""
        return await self.models[request.sampling.model].reply(request)


def found(said: str) -> Path:
    """Return the file of the model that is *said*, a path or a name; raises ConfigError."""
    if said.endswith(SUFFIX):
        path = Path(said).expanduser()
        if not path.is_file():
            hint = "billp models lists the models that are at hand"
            raise ConfigError(f"there is no file {said!r}", hint=hint)
        return path
    if WEIGHTS.is_place(said):  # a run's file may say it: what it names would be imported
        hint = f"name its file, {LOCAL}/PATH{SUFFIX}, or offer it as an entry point {WEIGHTS.group}"
        raise ConfigError(f"there is no local model {said!r}", hint=hint)
    return WEIGHTS.named(said).made()


def planned(said: str, settings: LocalSettings, in_flight: int) -> Plan:
    """Return how the model that is *said* is to be loaded; raises ConfigError if it cannot be.

    Who wants the same bytes each time gets one slot: what is computed beside a call decides how its
    numbers are rounded.
    """
    weights = read_weights(found(said))
    if not (weights.template or settings.template):
        raise ConfigError(
            f"{weights.path.name} has no chat template: it was not trained to chat",
            hint="--set local.template=chatml, or another, or the text of one",
        )
    threads = settings.threads or processors()
    slots = 1 if settings.deterministic else settings.slots or min(in_flight, _WORTH * threads)
    context = _context(weights, settings.context)
    cached = 0 if settings.deterministic else settings.kept << 20
    check_room(weights, slots, context, available(), cached)
    return Plan(plain_name(f"{LOCAL}/{said}"), weights, slots, context, settings)


def _context(weights: Weights, wanted: int) -> int:
    trained = weights.context or max(wanted, _ORDINARY)
    if wanted > trained:
        what = f"{weights.path.name} was trained for {trained:,} tokens, not for {wanted:,}"
        raise ConfigError(what, hint=f"--set local.context={trained}")
    return wanted or min(trained, _ORDINARY)


@asynccontextmanager
async def _models(opening: Opening) -> AsyncIterator[Door]:
    check_extra()
    models: dict[str, ChatModel] = {}
    digests: dict[str, str] = {}
    plans = _plans(opening)
    async with AsyncExitStack() as stack:
        for name, plan in plans.items():
            digests[name] = await _digest(plan, opening.loading)
            models[name] = await stack.enter_async_context(_loaded(plan, opening))
        slots = min(plan.slots for plan in plans.values())
        model = models[name] if len(models) == 1 else ByName(models)
        place = _place(digests, opening.way.local)
        yield Door(model, LOCAL, place, slots=slots, digests=digests)


def _place(digests: Mapping[str, str], settings: LocalSettings) -> str:
    """Return what a cache of replies is for: files of these very bytes, asked in this form."""
    decides = repr((sorted(digests.items()), settings.template))
    return f"{LOCAL} {sha256(decides.encode()).hexdigest()[:32]}"


def _plans(opening: Opening) -> dict[str, Plan]:
    plans: dict[str, Plan] = {}
    for said in opening.said:
        plan = planned(said, opening.way.local, opening.in_flight)
        if plan.name in plans:
            what = f"{said!r} and another model are both called {plan.name}"
            raise ConfigError(what, hint="rename one of the files")
        plans[plan.name] = plan
    return plans


@asynccontextmanager
async def _loaded(plan: Plan, opening: Opening) -> AsyncIterator[OpenAIModel]:
    """Load a model, and free it at the end."""
    engine = await run_sync(load, plan)
    account = Account(key=engine.key, url=engine.url, connections=plan.slots, service="llama.cpp")
    async with OpenAIModel(account, reasoning=False) as service:
        try:
            await service.probe([plan.name], structured=opening.structured)
        except ServiceError as error:
            if "template" not in str(error):
                raise
            what = f"llama.cpp knows no chat template {plan.settings.template!r}"
            hint = "--set local.template=chatml, or gemma, llama3, …, or the text of one"
            raise ConfigError(what, hint=hint) from error
        yield service


async def _digest(plan: Plan, loading: Loading) -> str:
    """Return the digest of a model's file, checked against the one that it is to have.

    Read beforehand, so that there is something to tell while it comes from the disk, and Ctrl-C is
    heard: llama.cpp lets nobody else run meanwhile, but finds it in memory then.
    """
    digest, done, size = sha256(), 0, plan.weights.size
    loading(plan.name, done, size)
    async with await anyio.open_file(plan.weights.path, "rb") as file:
        while piece := await file.read(_PIECE):
            await run_sync(digest.update, piece)
            done += len(piece)
            loading(plan.name, done, size)
    had = dict(entry.partition("=")[::2] for entry in plan.settings.digests).get(plan.name)
    if had not in {None, digest.hexdigest()}:
        what = f"{plan.weights.path} is not the file that this run began with"
        raise ConfigError(f"{what}: expected sha256 {had}, got {digest.hexdigest()}")
    return digest.hexdigest()


PROVIDER = Provider(_models)
