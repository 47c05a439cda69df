"""Opening services that speak the OpenAI protocol: `openai/NAME`."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from hashlib import blake2b
from pathlib import Path

from agents.models.model import ChatModel, Rates
from agents.models.providers import Door, Opening, Provider, Way
from agents.models.remote.addresses import OPENAI_URL
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.embedding_model import EmbeddingModel
from agents.models.remote.keys import read_key
from agents.models.remote.service import Account


@asynccontextmanager
async def _models(opening: Opening) -> AsyncIterator[Door]:
    account = account_on(opening.way, opening.in_flight)
    async with OpenAIModel(account) as service:
        yield _door(
            service, account, await service.probe(opening.names, structured=opening.structured)
        )


@asynccontextmanager
async def _embeddings(opening: Opening) -> AsyncIterator[Door]:
    account = account_on(opening.way, opening.in_flight)
    async with aclosing(EmbeddingModel(account, opening.names[0])) as vectors:
        yield _door(vectors, account, await vectors.probe())


def account_on(way: Way, connections: int) -> Account:
    """Return the account of whoever asks on a *way*; raises ConfigError for a key that lacks."""
    url = way.url or OPENAI_URL
    path = Path(way.key_file) if way.key_file else None
    return Account(
        key=read_key(os.environ, path=path, url=url),
        url=url,
        azure_version=way.azure_version,
        connections=connections,
    )


def _door(model: ChatModel, account: Account, rates: Mapping[str, Rates]) -> Door:
    # What stands for an account shows nothing of its key.
    fingerprint = blake2b(account.key.encode(), digest_size=8).hexdigest()
    return Door(model, f"{account.url} {fingerprint}", account.url, rates)


PROVIDER = Provider(_models, opens_embeddings=_embeddings)
