"""Which models a run has, the doors to them, and how their replies are drawn."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from msgspec import UNSET, UnsetType

from agents.embeddings import Embedder, HashingEmbedder
from agents.models.chain import Chain, ModelSettings, RoleModel, one_door, open_models
from agents.models.guards.batch import BatchPace
from agents.models.guards.budget import Allowances
from agents.models.guards.limiter import Limits
from agents.models.model import ChatModel, Sampling
from agents.models.providers import Door, Loading, Way, untold
from agents.models.remote.addresses import OPENAI_URL, same_service
from agents.models.remote.embedder import ServiceEmbedder
from agents.models.remote.vectors import ROLE as EMBEDDING
from agents.settings import ROOM, RoleSettings
from engine.calls import Call
from engine.errors import ConfigError
from sim.config.run import RunConfig
from sim.config.stages import Course
from sim.metrics.certificate import read_certificate
from storage.vectors import VectorFile


@asynccontextmanager
async def doors_of(
    config: RunConfig, model: ChatModel | None, loading: Loading = untold
) -> AsyncIterator[Mapping[str, Door]]:
    """Open the models that *config* names; or let all calls go to *model*, if that is given.

    *loading* is told how the loading of models goes.
    """
    settings = replace(model_settings(config), loading=loading)
    if model is not None:
        yield one_door(model, (*settings.roles, EMBEDDING))
        return
    async with open_models(settings) as doors:
        certified(config, doors)
        yield doors


def certified(config: RunConfig, doors: Mapping[str, Door]) -> dict[str, str]:
    """Return what the certificate that *config* names says, and its sha256; nothing without one.

    Raises ConfigError if it is of no model that is asked behind *doors*.
    """
    if not config.certificate:
        return {}
    found, digest = read_certificate(Path(config.certificate))
    asked = sorted({config.model_of(role) for role in config.roles})
    if found.model not in asked:
        what = f"{config.certificate} is of {found.model!r}, asked are {', '.join(asked)}"
        raise ConfigError(what, hint="billp probe MODEL --out FILE writes another")
    here = digests_of(doors).get(found.model)
    if here is not None and here != found.digests.get(found.model):
        what = f"{config.certificate} is of another file that is called {found.model}"
        raise ConfigError(what, hint="billp probe MODEL --out FILE writes another")
    return {"model": found.model, "says": found.says, "sha256": digest}


def digests_of(doors: Mapping[str, Door]) -> dict[str, str]:
    """Return the sha256 of the models' files, by model, as far as they are files."""
    return dict(sorted(entry for door in doors.values() for entry in door.digests.items()))


def noted(course: Course, doors: Mapping[str, Door]) -> Course:
    """Return *course* with the digests of its models' files: whoever goes on with it wants these.

    Those that it names already are what the doors were opened by.
    """
    had = course.config.local.digests
    found = [f"{name}={digest}" for name, digest in digests_of(doors).items()]
    new = [entry for entry in found if entry not in had]
    return course.operated([{"local": {"digests": [*had, *new]}}]) if new else course


def embedder_for(config: RunConfig, chain: Chain, vectors: VectorFile | None) -> Embedder:
    """Return the embedder that *config* names; what a service says is kept in *vectors*."""
    if vectors is None:
        return HashingEmbedder()
    return ServiceEmbedder(chain, config.embedding_model, vectors, chain.keep)


def model_settings(config: RunConfig) -> ModelSettings:
    """Return which models the roles have, the way to them, and what a run may spend."""
    way = way_of(config)
    return ModelSettings(
        roles={role: _role_model(config, settings, way) for role, settings in config.roles.items()},
        embeddings=config.embeddings if config.embedding_model else "",
        way=replace(way, tier="batch") if config.embedding_tier == "batch" else way,
        limits=_limits(config.concurrency, config),
        attempts=config.attempts,
        allowances=Allowances(
            calls=config.max_calls,
            tokens=config.max_tokens_total,
            cost=config.max_cost,
            prices=config.prices,
            tiers=config.tiers,
        ),
        structured=config.structured,
        batch=BatchPace(wait=config.batch_wait, size=config.batch_size, poll=config.batch_poll),
        cache=Path(config.cache) if config.cache else None,
    )


def way_of(config: RunConfig) -> Way:
    """Return the way to the model that *config* names."""
    return Way(
        url=config.base_url,
        key_file=config.key_file,
        azure_version=config.azure_version,
        service=config.service,
        api=config.api,
        local=config.local,
    )


def _role_model(config: RunConfig, settings: RoleSettings, way: Way) -> RoleModel:
    asked = settings.concurrency or settings.requests_per_minute or settings.tokens_per_minute
    # A key is for the service beside which it stands: no other gets it. Nor is another of its kind.
    same = not settings.base_url or same_service(settings.base_url, way.url or OPENAI_URL)
    own = replace(
        way if same else Way(azure_version=way.azure_version, local=way.local),
        url=settings.base_url or way.url,
        key_file=settings.key_file or (way.key_file if same else ""),
        tier="" if settings.tier == "default" else settings.tier,
    )
    limits = _limits(settings.concurrency or config.concurrency, settings) if asked else None
    return RoleModel(model=settings.model or config.model, way=own, limits=limits)


def _limits(in_flight: int, settings: RunConfig | RoleSettings) -> Limits:
    return Limits(
        in_flight=in_flight,
        requests_per_minute=settings.requests_per_minute or None,
        tokens_per_minute=settings.tokens_per_minute or None,
    )


def samplings(course: Course) -> Callable[[Call], Sampling]:
    """Return how the reply to a call is drawn."""
    tables = [samplings_of(stage.config) for stage in course.stages]
    if len(tables) == 1:
        return lambda call: tables[0][call.role]
    return lambda call: tables[course.stage_at(course.point_of_call(call))][call.role]


def _unless(usual: int, value: int) -> int | UnsetType:
    """Return *value*, unset if it goes without saying: so it does in the heads of traces."""
    return UNSET if value == usual else value


def samplings_of(config: RunConfig) -> dict[str, Sampling]:
    """Return how the replies of each role are drawn."""
    return {
        role: Sampling(
            model=config.model_of(role),
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            instructions=settings.instructions,
            effort=settings.effort or UNSET,
            reasoning_tokens=_unless(ROOM, settings.reasoning_tokens),
        )
        for role, settings in config.roles.items()
    }
