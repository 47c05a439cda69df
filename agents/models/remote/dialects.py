"""What a model can be told, as far as services differ in it; what is refused is learned."""

from typing import Any, Literal

import msgspec

from agents.models.model import Sampling
from agents.models.remote.forms import Form, after
from agents.settings import ROOM, Effort

_DROPPED = {
    "temperature": "temperature",
    "seed": "seed",
    "stop": "stop",
    "prompt_cache_key": "cache_key",
}
_LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_FORMED = frozenset(
    {
        *("response_format", "json_schema", "json schema", "text.format", "grammar"),
        *("tools", "tool_choice"),
    }
)
_ROLES = ("developer", "messages[0].role", "input[0].role")


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """What a model can be told; reasoning models are told less.

    *max_tokens* is the name of that field, *form* how it is told the form of a reply. A *cache_key*
    helps a service to find what it has read before; *tier* is what is asked for, if anything is.
    What a model *reasons* unasked wants room; *effort* is where it is told how long to do so,
    *instructor* in whose role what it is to do.
    """

    temperature: bool = True
    seed: bool = True
    stop: bool = True
    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    form: Form = "json_schema"
    cache_key: bool = False
    tier: str = ""
    reasons: bool = False
    effort: Literal["reasoning_effort", "reasoning", "chat_template_kwargs"] = "reasoning_effort"
    instructor: Literal["system", "developer"] = "system"

    def without(self, param: str | None) -> "Dialect | None":
        """Return the dialect of a model that refuses *param*, None if it is no part of this one."""
        other = self
        if param in _DROPPED:
            other = msgspec.structs.replace(self, **{_DROPPED[param]: False})
        elif param in _LIMITS and self.max_tokens == param:
            other = msgspec.structs.replace(self, max_tokens=_LIMITS[param])
        elif param in _FORMED:
            other = msgspec.structs.replace(self, form=after(self.form))
        elif param in _ROLES:
            other = msgspec.structs.replace(self, instructor="system")
        return None if other == self else other


PLAIN = Dialect()
REASONING = Dialect(temperature=False, stop=False, max_tokens="max_completion_tokens", reasons=True)
_REASONING_NAMES = ("o1", "o3", "o4", "gpt-5")


def reasons(model: str) -> bool:
    """Tell whether *model* reasons, as far as its name tells it."""
    # Services that offer models of many makers put these before the name.
    return model.rpartition("/")[2].startswith(_REASONING_NAMES)


def room(sampling: Sampling, dialect: Dialect) -> int:
    """Return the tokens that a model gets for reasoning, in which its reply has no part."""
    unasked = dialect.reasons and sampling.effort is msgspec.UNSET
    if not unasked and sampling.effort in {msgspec.UNSET, "none"}:
        return 0
    own = sampling.reasoning_tokens
    return ROOM if own is msgspec.UNSET else own


def most_tokens(sampling: Sampling, dialect: Dialect) -> int | None:
    """Return what a reply may have, with what is reasoned before; None leaves it to the service."""
    if sampling.max_tokens is None:
        return None
    return sampling.max_tokens + room(sampling, dialect)


def effort_fields(effort: Effort | msgspec.UnsetType, dialect: Dialect) -> dict[str, Any]:
    """Return the fields that say how long to reason."""
    if effort is msgspec.UNSET:
        return {}
    if dialect.effort == "reasoning":
        return {"reasoning": {"effort": effort}}
    if dialect.effort == "chat_template_kwargs":
        told = {"enable_thinking": effort != "none", "reasoning_effort": effort}
        return {"chat_template_kwargs": told}
    return {"reasoning_effort": effort}
