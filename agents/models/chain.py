"""What stands between a run and its models, put together from settings.

A call goes through the cache, the budget, the retries, the limits of its role and those of its
account, then to the model. There is one limiter for an account, and it stands inside the retries:
a call that waits to be tried again holds no slot. The cache is filled by whoever has written a
reply down: `Chain.keep`.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from math import fsum
from pathlib import Path
from typing import Any

from agents.models.guards.batch import BatchPace, Errands
from agents.models.guards.batching import Batching
from agents.models.guards.budget import Allowances, Budget
from agents.models.guards.cached import Cached, SpareCache
from agents.models.guards.limiter import Limiter, Limits
from agents.models.guards.quiet import Counted, Quiet
from agents.models.guards.retrying import Attempt, Patience, Retrying
from agents.models.model import ChatModel, ChatReply, ChatRequest
from agents.models.providers import (
    EMBEDDED,
    LOCAL,
    PROVIDERS,
    Door,
    Loading,
    Opening,
    Way,
    check_model,
    embeddings_opener,
    plain_name,
    provider_of,
    takes_tiers,
    untold,
)
from agents.models.remote.vectors import ROLE
from engine.errors import ConfigError
from storage.batches import BatchFile
from storage.replies import ReplyCache


@dataclass(frozen=True, kw_only=True)
class RoleModel:
    """The model of a role, `embedded` or `openai/NAME`, the way to it, and limits of its own."""

    model: str = EMBEDDED
    way: Way = field(default_factory=Way)
    limits: Limits | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which model each role has, and what every call goes through.

    *embeddings* is the name of a model on the *way*, `openai/NAME`, or empty; *limits* are those of
    each account. *batch* says when batches are sent. *structured* replies will be asked for.
    *cache* is a directory, or None. *loading* is told how models are loaded.
    """

    roles: Mapping[str, RoleModel]
    embeddings: str = ""
    way: Way = field(default_factory=Way)
    limits: Limits = field(default_factory=lambda: Limits(in_flight=16))
    attempts: int = 12
    allowances: Allowances = field(default_factory=Allowances)
    batch: BatchPace = field(default_factory=BatchPace)
    structured: bool = False
    cache: Path | None = None
    loading: Loading = untold


def check_settings(settings: ModelSettings) -> None:
    """Raise ConfigError for the name of a model that cannot be, and for a price that lacks."""
    models = [role.model for role in settings.roles.values()]
    for name, role in settings.roles.items():
        check_model(role.model)
        _check_tier(f"{name}.tier", role.model, role.way)
    if settings.embeddings:
        embeddings_opener(settings.embeddings)
        _check_tier("embedding_tier", settings.embeddings, settings.way)
        models.append(settings.embeddings)
    settings.allowances.check(set(map(plain_name, models)))


def _check_tier(setting: str, model: str, way: Way) -> None:
    if way.tier and not takes_tiers(model):
        what = f"{setting} is {way.tier!r}, but {model!r} is at no service that has tiers"
        raise ConfigError(what, hint="name a model openai/NAME, or leave it at default")


def one_door(model: ChatModel, roles: Iterable[str]) -> dict[str, Door]:
    """Return the doors of *roles* that all lead to *model*."""
    return dict.fromkeys(roles, Door(model))


@asynccontextmanager
async def open_models(settings: ModelSettings) -> AsyncIterator[dict[str, Door]]:
    """Open the models of all roles, and ask each service for a word.

    Raises ConfigError for a name, a key or a price that lacks, ServiceError if a run would come to
    nothing, FileError for a cache that cannot be used.
    """
    check_settings(settings)
    doors: dict[str, Door] = {}
    async with AsyncExitStack() as stack:
        for (provider, way), roles in _by_way(settings.roles).items():
            opening = _opening([settings.roles[role].model for role in roles], way, settings)
            door = await stack.enter_async_context(PROVIDERS.named(provider).opens(opening))
            doors |= dict.fromkeys(roles, door)
        if settings.embeddings:
            opens = embeddings_opener(settings.embeddings)
            opening = _opening([settings.embeddings], settings.way, settings)
            doors[ROLE] = await stack.enter_async_context(opens(opening))
        if settings.cache is not None:
            ReplyCache(settings.cache).close()  # what is wrong with it is said before a run begins
        yield doors


def _opening(models: Iterable[str], way: Way, settings: ModelSettings) -> Opening:
    models = [*dict.fromkeys(models)]
    return Opening(
        names=(*dict.fromkeys(map(plain_name, models)),),
        way=way,
        in_flight=settings.limits.in_flight,
        structured=settings.structured,
        said=tuple(model.partition("/")[2] for model in models),
        loading=settings.loading,
    )


def _by_way(models: Mapping[str, RoleModel]) -> dict[tuple[str, Way], list[str]]:
    """Return the roles whose models are found on the same way."""
    found: dict[tuple[str, Way], list[str]] = {}
    for role, one in models.items():
        provider = provider_of(one.model)
        # Where services are says nothing of this machine: a model is loaded once.
        way = Way(local=one.way.local) if provider == LOCAL else one.way
        found.setdefault((provider, way), []).append(role)
    return found


@dataclass(frozen=True)
class Routed:
    """A model that leaves each call to the model of its role."""

    by_role: Mapping[str, ChatModel]

    def reply(self, request: ChatRequest) -> Coroutine[Any, Any, ChatReply]:
        """Return the reply of the role's model."""
        return self.by_role[request.call.role].reply(request)


@dataclass(frozen=True)
class ChainStatistics:
    """How a chain is doing, over all accounts: calls in flight, of how many at most, and waiting.

    *limit* is what the ceiling is lowered to now; a minute's requests and tokens are those that the
    user or a service limits, else None. *busy_seconds* is the sum over all slots of the time they
    were in use.
    """

    in_flight: int
    limit: int
    ceiling: int
    waiting: int
    busy_seconds: float
    requests_per_minute: float | None
    tokens_per_minute: float | None


@dataclass(frozen=True)
class Chain:
    """All that a call goes through; its parts tell how it is doing.

    *caches*, and what sends calls in batches, are by role.
    """

    model: ChatModel
    limiters: Mapping[str, Limiter]
    retrying: Retrying
    budget: Budget
    caches: Mapping[str, Cached] = field(default_factory=dict)
    batching: Mapping[str, Batching] = field(default_factory=dict)

    def reply(self, request: ChatRequest) -> Coroutine[Any, Any, ChatReply]:
        """Return the reply; raises CallFailedError or ServiceError."""
        return self.model.reply(request)

    def keep(self, request: ChatRequest, reply: ChatReply) -> None:
        """Keep a *reply* for other runs; to be called when this one has it on disk."""
        cached = self.caches.get(request.call.role)
        if cached is not None:
            cached.keep(request, reply)

    @property
    def hits(self) -> int:
        """How many replies came from a cache."""
        return sum(cached.hits for cached in {*self.caches.values()})

    def statistics(self) -> ChainStatistics:
        """Return how things are now."""
        parts = [limiter.statistics() for limiter in self.limiters.values()]
        return ChainStatistics(
            in_flight=sum(part.in_flight for part in parts),
            limit=sum(part.limit for part in parts),
            ceiling=sum(part.ceiling for part in parts),
            waiting=sum(part.waiting for part in parts),
            busy_seconds=sum(part.busy_seconds for part in parts),
            requests_per_minute=_sum(part.requests_per_minute for part in parts),
            tokens_per_minute=_sum(part.tokens_per_minute for part in parts),
        )


def _sum(limits: Iterable[float | None]) -> float | None:
    """Return the sum of those *limits* that there are; None if there is none."""
    known = [limit for limit in limits if limit is not None]
    return fsum(known) if known else None


@contextmanager
def linked(
    doors: Mapping[str, Door],
    settings: ModelSettings,
    observe: Callable[[Attempt], None],
    batches: BatchFile | None = None,
) -> Iterator[Chain]:
    """Return the chain in front of *doors*; *observe* is told every attempt as it ends.

    What is sent in batches is written to *batches*; without that all is asked one by one.
    """
    limiters = {
        account: _limiter(same, settings.limits) for account, same in _by_account(doors).items()
    }
    limited = _limited(doors, settings, limiters)
    patience = _patience(settings)
    quiet = Quiet()
    batching = {} if batches is None else _batching(doors, settings, quiet, batches)
    retrying = Retrying(Routed({**limited, **batching}), patience, observe=observe)
    counted = Counted(retrying, quiet) if batching else retrying
    allowances = (
        settings.allowances if batches is not None else _without_batches(settings.allowances)
    )
    budget = Budget(counted, allowances)
    with ExitStack() as opened:
        for one in {*batching.values()}:
            opened.enter_context(closing(one))
        if settings.cache is None:
            yield Chain(budget, limiters, retrying, budget, batching=batching)
            return
        cache = opened.enter_context(closing(SpareCache(settings.cache)))
        places = {place: Cached(budget, cache, place) for place in _places(doors)}
        caches = {role: places[door.place] for role, door in doors.items()}
        yield Chain(Routed(caches), limiters, retrying, budget, caches, batching)


def _limited(
    doors: Mapping[str, Door], settings: ModelSettings, limiters: Mapping[str, Limiter]
) -> dict[str, Limiter]:
    """Return the limiter of each role: that of its account, with limits of its own before it."""
    limited: dict[str, Limiter] = {}
    for role, door in doors.items():
        own = settings.roles[role].limits if role in settings.roles else None
        account = limiters[door.account]
        limited[role] = account if own is None else Limiter(account, own)
    return limited


def _patience(settings: ModelSettings) -> Patience:
    """Return how long calls are tried: where one attempt may take long, longer."""
    patience = Patience(attempts=settings.attempts)
    slow = any(role.way.tier == "flex" for role in settings.roles.values())
    return replace(patience, total=4 * patience.total) if slow else patience


def _without_batches(allowances: Allowances) -> Allowances:
    """Return *allowances* where nothing waits for a batch: all is paid as if asked at once."""
    tiers = allowances.tiers.items()
    return replace(allowances, tiers={role: tier for role, tier in tiers if tier != "batch"})


def _batching(
    doors: Mapping[str, Door], settings: ModelSettings, quiet: Quiet, batches: BatchFile
) -> dict[str, Batching]:
    """Return what sends the calls of roles in batches: one for all roles behind a door."""
    patience = _patience(settings)
    services = {role: door.batches for role, door in doors.items() if door.batches is not None}
    by_service = {
        id(service): Batching(Errands(service, batches, settings.batch, patience), quiet)
        for service in services.values()
    }
    return {role: by_service[id(service)] for role, service in services.items()}


def _places(doors: Mapping[str, Door]) -> list[str]:
    return sorted({door.place for door in doors.values()})


def _by_account(doors: Mapping[str, Door]) -> dict[str, dict[str, Door]]:
    found: dict[str, dict[str, Door]] = {}
    for role, door in doors.items():
        found.setdefault(door.account, {})[role] = door
    return found


def _limiter(doors: Mapping[str, Door], limits: Limits) -> Limiter:
    """Return the limiter of the account that *doors* share."""
    rates = {model: said for door in doors.values() for model, said in door.rates.items()}
    slots = [door.slots for door in doors.values() if door.slots]
    limits = replace(limits, in_flight=min([limits.in_flight, *slots]))
    return Limiter(Routed({role: door.model for role, door in doors.items()}), limits, rates=rates)
