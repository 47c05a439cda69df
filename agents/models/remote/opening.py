"""Opening services that speak the OpenAI protocol: `openai/NAME`."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from agents.models.model import ChatModel, Rates
from agents.models.providers import Door, Opening, Provider, Way
from agents.models.remote.addresses import OPENAI_URL
from agents.models.remote.batches import Asking, Batches
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.deadlines import Timeouts
from agents.models.remote.embedding_model import EmbeddingModel
from agents.models.remote.keys import read_key
from agents.models.remote.service import Account

_UNHURRIED = Timeouts(first_byte=900.0, whole=900.0)
"""Where the service takes its time for a lower price; large files take theirs, too."""


@asynccontextmanager
async def _models(opening: Opening) -> AsyncIterator[Door]:
    account = account_on(opening.way, opening.in_flight)
    async with OpenAIModel(account) as service:
        said = await service.probe(opening.names, structured=opening.structured)
        yield _batched(_door(service, account, said), service, opening.way)


@asynccontextmanager
async def _embeddings(opening: Opening) -> AsyncIterator[Door]:
    account = account_on(opening.way, opening.in_flight)
    async with aclosing(EmbeddingModel(account, opening.names[0])) as vectors:
        door = _door(vectors, account, await vectors.probe())
        yield _batched(door, vectors, opening.way)


def _batched(door: Door, model: Asking, way: Way) -> Door:
    return replace(door, batches=Batches(model)) if way.tier == "batch" else door


def account_on(way: Way, connections: int) -> Account:
    """Return the account of whoever asks on a *way*; raises ConfigError for a key that lacks."""
    hurried = way.tier in {"", "priority"}
    url = way.url or OPENAI_URL
    path = Path(way.key_file) if way.key_file else None
    return Account(
        key=read_key(os.environ, path=path, url=url),
        url=url,
        azure_version=way.azure_version,
        tier="" if way.tier == "batch" else way.tier,
        service=way.service,
        api=way.api,
        connections=connections,
        timeouts=Timeouts() if hurried else _UNHURRIED,
    )


def _door(model: ChatModel, account: Account, rates: Mapping[str, Rates]) -> Door:
    # What stands for an account shows nothing of its key.
    fingerprint = blake2b(account.key.encode(), digest_size=8).hexdigest()
    return Door(model, f"{account.url} {fingerprint}", account.url, rates)


PROVIDER = Provider(_models, opens_embeddings=_embeddings, tiers=True)
