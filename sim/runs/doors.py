"""The doors of a run: to its models, and to the embedder that its configuration names."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from agents.embeddings import Embedder, HashingEmbedder
from agents.models.chain import Chain, one_door, open_models
from agents.models.model import ChatModel
from agents.models.providers import Door
from agents.models.remote.embedder import ServiceEmbedder
from agents.models.remote.vectors import ROLE as EMBEDDING
from sim.config.run import RunConfig
from sim.runs.models import model_settings
from storage.vectors import VectorFile


def embedder_for(config: RunConfig, chain: Chain, vectors: VectorFile | None) -> Embedder:
    """Return the embedder that *config* names; what a service says is kept in *vectors*."""
    if vectors is None:
        return HashingEmbedder()
    return ServiceEmbedder(chain, config.embedding_model, vectors, chain.keep)


@asynccontextmanager
async def doors_of(config: RunConfig, model: ChatModel | None) -> AsyncIterator[Mapping[str, Door]]:
    """Open the models that *config* names; or let all calls go to *model*, if that is given."""
    if model is not None:
        yield one_door(model, (*config.roles, EMBEDDING))
        return
    async with open_models(model_settings(config)) as doors:
        yield doors
