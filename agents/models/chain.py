"""What stands between a run and its models, put together from settings.

A call goes through retries, then the limiter, then to the model of its role. There is one limiter,
since there is one account; and it stands inside the retries, so a call that waits to be tried again
holds no slot.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from agents.models.embedded import NAME, EmbeddedModel
from agents.models.embedding_model import ROLE, EmbeddingModel
from agents.models.keys import read_key
from agents.models.limiter import Limiter, Limits
from agents.models.model import ChatModel, ChatReply, ChatRequest
from agents.models.openai_model import OpenAIModel
from agents.models.retrying import Attempt, Patience, Retrying
from agents.models.service import OPENAI_URL, Account
from engine.errors import ConfigError

PREFIX = "openai/"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which model each role has, `embedded` or `openai/NAME`, and the way to it.

    *embeddings* is the name of a service's embedding model, or empty. An empty *base_url* is
    OpenAI's own service; an empty *key_file* leaves the key to the environment.
    """

    models: Mapping[str, str]
    embeddings: str = ""
    base_url: str = ""
    key_file: str = ""
    concurrency: int = 16
    attempts: int = 6


def plain_name(model: str) -> str:
    """Return the name of a model without the way to it: `embedded`, also over HTTP."""
    return model.removeprefix(PREFIX)


def check_model(model: str) -> None:
    """Raise ConfigError if *model* is neither `embedded` nor `openai/NAME`."""
    if model == NAME or (model.startswith(PREFIX) and plain_name(model)):
        return
    meant = NAME if get_close_matches(model, [NAME], cutoff=0.6) else f"{PREFIX}{model or 'NAME'}"
    raise ConfigError(
        f"there is no model {model!r}",
        hint=f"did you mean {meant}? Models are {NAME}, or {PREFIX}NAME with --base-url URL",
    )


@dataclass(frozen=True)
class Routed:
    """A model that leaves each call to the model of its role."""

    by_role: Mapping[str, ChatModel]

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply of the role's model."""
        return await self.by_role[request.call.role].reply(request)


@asynccontextmanager
async def open_models(settings: ModelSettings) -> AsyncIterator[ChatModel]:
    """Open the models of all roles, and ask each service for a word.

    Raises ConfigError for a name or a key that cannot be used, ServiceError if a run would come to
    nothing.
    """
    for model in settings.models.values():
        check_model(model)
    remote = {role: m for role, m in settings.models.items() if m.startswith(PREFIX)}
    by_role: dict[str, ChatModel] = dict.fromkeys(settings.models, EmbeddedModel())
    async with AsyncExitStack() as stack:
        if remote or settings.embeddings:
            account = _account(settings)
        if remote:
            service = await stack.enter_async_context(OpenAIModel(account))
            await service.probe(map(plain_name, remote.values()))
            by_role |= dict.fromkeys(remote, service)
        if settings.embeddings:
            vectors = EmbeddingModel(account, settings.embeddings)
            stack.push_async_callback(vectors.aclose)
            await vectors.probe()
            by_role[ROLE] = vectors
        yield Routed(by_role)


def _account(settings: ModelSettings) -> Account:
    url = settings.base_url or OPENAI_URL
    path = Path(settings.key_file) if settings.key_file else None
    key = read_key(os.environ, path=path, url=url)
    return Account(key=key, url=url, connections=settings.concurrency)


@dataclass(frozen=True)
class Chain:
    """All that a call goes through; *limiter* and *retrying* tell how it is doing."""

    limiter: Limiter
    retrying: Retrying

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply; raises CallFailedError or ServiceError."""
        return await self.retrying.reply(request)


def linked(model: ChatModel, settings: ModelSettings, observe: Callable[[Attempt], None]) -> Chain:
    """Return the chain in front of *model*; *observe* is told every attempt as it ends."""
    limiter = Limiter(model, Limits(in_flight=settings.concurrency))
    patience = Patience(attempts=settings.attempts)
    return Chain(limiter, Retrying(limiter, patience, observe=observe))
