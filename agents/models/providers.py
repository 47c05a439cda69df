"""Ways to models, by name: what stands before the slash in `openai/NAME`, or alone, as `embedded`.

The rest is the name that the model has where it is; it alone decides a trace. A model of this
machine that is named by its file, `local/PATH.gguf`, is called as the file is: no path decides one.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import PurePath
from typing import Literal, TypeAlias

from agents.models.batches import BatchService
from agents.models.model import ChatModel, Rates
from agents.settings import LocalSettings
from engine.errors import ConfigError
from storage.parts import Parts

EMBEDDED = "embedded"
LOCAL = "local"


Tier: TypeAlias = Literal["", "flex", "priority", "batch"]
"""How soon calls are answered, and at what price."""

Service: TypeAlias = Literal[
    "openai", "azure", "vllm", "llama.cpp", "ollama", "openrouter", "litellm"
]
"""Kinds of services that speak the OpenAI protocol, each in its own way."""

Api: TypeAlias = Literal["chat", "responses"]
"""Ways to ask: chat completions, or the Responses API."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """The way to a service: an empty *url* is OpenAI's, an empty *key_file* the environment.

    *service* is its kind, `auto` to find that out; *api* how it is asked. *local* is how models of
    this machine are loaded. An empty *tier* is what the account has.
    """

    url: str = ""
    key_file: str = ""
    azure_version: str = ""
    service: Service | Literal["auto"] = "auto"
    api: Api = "chat"
    local: LocalSettings = field(default_factory=LocalSettings)
    tier: Tier = ""


@dataclass(frozen=True)
class Door:
    """A model, the account that its calls are counted for, and the place of its service.

    *rates* are what the service said of its limits, by model. It takes so many calls at once as it
    has *slots*; 0 leaves that to the limits. *digests* are the sha256 of models' files, by model.
    Where calls are to go in *batches*, those are sent, and the model asked for a word alone.
    """

    model: ChatModel
    account: str = EMBEDDED
    place: str = EMBEDDED
    rates: Mapping[str, Rates] = field(default_factory=dict)
    slots: int = 0
    digests: Mapping[str, str] = field(default_factory=dict)
    batches: BatchService | None = None


Loading: TypeAlias = Callable[[str, int, int], None]
"""Who is told, while a model is loaded: its name, how many bytes are read, and of how many."""


def untold(name: str, done: int, size: int) -> None:
    """Tell nobody how the loading of a model goes."""


@dataclass(frozen=True)
class Opening:
    """What is to be opened: models by their *names*, on a *way*, for so many calls in flight.

    *structured* says that replies will be asked for that follow a schema, *said* are the names as
    they were given, without the provider's; *loading* is told how it goes.
    """

    names: tuple[str, ...]
    way: Way
    in_flight: int
    structured: bool = False
    said: tuple[str, ...] = ()
    loading: Loading = untold


Opener = Callable[[Opening], AbstractAsyncContextManager[Door]]
"""Opens a door, and asks for a word behind it: raises ConfigError or ServiceError."""


@dataclass(frozen=True)
class Provider:
    """A way to models: *opens* the door to them, and *opens_embeddings* that to vectors.

    *choosing* says that its models have names of their own, after a slash; *tiers*, that it takes
    calls in tiers (`Way`).
    """

    opens: Opener
    choosing: bool = True
    opens_embeddings: Opener | None = None
    tiers: bool = False


PROVIDERS: Parts[Provider] = Parts(
    "model provider",
    "billp.models",
    Provider,
    {
        EMBEDDED: "agents.models.embedded:PROVIDER",
        "openai": "agents.models.remote.opening:PROVIDER",
        LOCAL: "agents.models.local.opening:PROVIDER",
    },
)


def provider_of(model: str) -> str:
    """Return the name of the way to a model."""
    return model.partition("/")[0]


def plain_name(model: str) -> str:
    """Return the name of a model without the way to it: `embedded`, also over HTTP.

    A file's is its own, without its folders and its ending.
    """
    name = model.partition("/")[2]
    return PurePath(name).stem if names_file(model) else name or model


def names_file(model: str) -> bool:
    """Tell whether a model of this machine is named by its file, `local/PATH.gguf`."""
    return model.startswith(f"{LOCAL}/") and model.endswith(".gguf")


def check_model(model: str) -> None:
    """Raise ConfigError if *model* is not the name of one: `embedded`, or `openai/NAME`."""
    way, slash, name = model.partition("/")
    try:
        choosing = PROVIDERS.named(way).choosing
    except ConfigError as error:
        if ":" in way:  # a place that Python was to find: what went wrong there is what matters
            raise
        near = get_close_matches(way, PROVIDERS, n=1, cutoff=0.6)
        meant = f"{near[0]}{slash}{name}" if near else f"openai/{model or 'NAME'}"
        raise _unknown(model, meant) from error
    if bool(name) is not choosing or bool(slash) is not choosing:
        raise _unknown(model, f"{way}/NAME" if choosing else way)


def takes_tiers(model: str) -> bool:
    """Return whether calls to a *model* can go in tiers."""
    return PROVIDERS.named(provider_of(model)).tiers


def embeddings_opener(name: str) -> Opener:
    """Return what opens the door to the embeddings called *name*, `openai/NAME`.

    Raises ConfigError if there are none.
    """
    way, _, model = name.partition("/")
    opens = PROVIDERS.named(way).opens_embeddings if model else None
    if opens is None:
        hint = "use hashing or openai/NAME"
        raise ConfigError(f"there are no embeddings {name!r}", hint=hint)
    return opens


def _unknown(model: str, meant: str) -> ConfigError:
    return ConfigError(
        f"there is no model {model!r}",
        hint=f"did you mean {meant}? Models are {EMBEDDED}, {LOCAL}/NAME, or openai/NAME with "
        "--base-url URL",
    )
