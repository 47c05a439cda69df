"""Kinds of services that speak the OpenAI protocol: what each is told first, and how it is known.

What a service refuses is learned all the same (dialects.py): a profile is where that begins. Each
has its source beside it; tests/agents/models/remote/dialects holds an exchange with each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from agents.models.providers import Service
from agents.models.remote.bounded import entries, member
from agents.models.remote.dialects import PLAIN, REASONING, Dialect, reasons


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What the models of a service can be told at first: *plain* ones, and those that reason.

    It is known by the *host* that its addresses end in, by whom its models are *owned_by*, or by a
    *header* of its answers; empty is what says nothing. In its Responses API it takes *seeds*, or
    refuses them, and *tells_cuts*, or calls a reply whole that came to its length.
    """

    plain: Dialect = PLAIN
    reasoning: Dialect = REASONING
    host: str = ""
    owned_by: str = ""
    header: str = ""
    seeds: bool = True
    tells_cuts: bool = True

    def dialect(self, model: str, *, reasoning: bool | None = None) -> Dialect:
        """Return what *model* is told; whether it is *reasoning* its name says, unless told."""
        thinks = reasons(model) if reasoning is None else reasoning
        return self.reasoning if thinks else self.plain


_OPENAIS = replace(PLAIN, cache_key=True)
_OPENAIS_REASONING = replace(REASONING, cache_key=True, instructor="developer")
_OPENROUTERS = replace(PLAIN, effort="reasoning")
_LLAMAS = replace(PLAIN, effort="chat_template_kwargs")

UNKNOWN: Final = Profile()
"""Any other service: it is told what OpenAI's first ones were."""

PROFILES: Final[Mapping[Service, Profile]] = {
    # https://platform.openai.com/docs/guides/reasoning, .../guides/prompt-caching
    "openai": Profile(
        plain=_OPENAIS, reasoning=_OPENAIS_REASONING, host="api.openai.com", seeds=False
    ),
    # https://learn.microsoft.com/azure/ai-foundry/openai/how-to/reasoning
    "azure": Profile(plain=_OPENAIS, reasoning=_OPENAIS_REASONING, host=".azure.com", seeds=False),
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html: models that reason take
    # all the others take, whatever they are called.
    "vllm": Profile(reasoning=replace(PLAIN, reasons=True), owned_by="vllm"),
    # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md: effort is a matter
    # of the chat template.
    "llama.cpp": Profile(
        plain=_LLAMAS,
        reasoning=replace(_LLAMAS, reasons=True),
        owned_by="llamacpp",
        tells_cuts=False,
    ),
    # https://docs.ollama.com/api/openai-compatibility
    "ollama": Profile(reasoning=replace(PLAIN, reasons=True), owned_by="library"),
    # https://openrouter.ai/docs/use-cases/reasoning-tokens: what a model does not know is left out.
    "openrouter": Profile(
        plain=_OPENROUTERS, reasoning=replace(_OPENROUTERS, reasons=True), host="openrouter.ai"
    ),
    # https://docs.litellm.ai/docs/proxy/response_headers
    "litellm": Profile(header="x-litellm-version"),
}
"""The profiles, by service."""


def by_address(url: str) -> Service | None:
    """Return the kind of the service at *url*, as far as its host tells it."""
    host = urlsplit(url).hostname or ""
    named = ((name, profile.host) for name, profile in PROFILES.items() if profile.host)
    return next((name for name, end in named if _ends(host, end)), None)


def _ends(host: str, end: str) -> bool:
    return host.endswith(end) if end.startswith(".") else host == end


def by_answer(headers: Mapping[str, str], models: object) -> Service | None:
    """Return the kind of a service by the *headers* of an answer and its list of *models*."""
    owners = {member(model, "owned_by") for model in entries(member(models, "data"))[:1]}
    for name, profile in PROFILES.items():
        if profile.header and profile.header in headers:
            return name
        if profile.owned_by and profile.owned_by in owners:
            return name
    return None
