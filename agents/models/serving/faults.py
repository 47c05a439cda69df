"""Faults that a service of our own can show, each at a rate, to see who survives them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

import msgspec

from agents.models.model import ChatReply
from engine.chance import Stream, chance
from engine.errors import ConfigError

FAULTS: Final = MappingProxyType(
    {
        "drop": "the connection is cut before the reply",
        "rate_limit": "429 without Retry-After",
        "rate_limit_told": "429 with Retry-After",
        "no_room": "429 as of the tier flex, which has no room",
        "error": "500",
        "unavailable": "503",
        "slow": "the reply takes long",
        "cut": "the connection is cut in the middle of the reply",
        "truncated": "JSON that ends too early",
        "wrong": "JSON of another shape",
        "empty": "a reply without choices",
        "filter": "finish_reason content_filter",
        "length": "finish_reason length, in the middle of the text",
    }
)
"""The faults by name, as they are drawn: the first that falls due is the one shown."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """*rates* by name (0–1); *outages* as (start, length) in seconds of the service's life.

    *slow* is how long a slow reply takes and *retry_after* what 429 asks for, in seconds. After
    *refuse_after* calls the key is refused.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    outages: tuple[tuple[float, float], ...] = ()
    slow: float = 30.0
    retry_after: float = 1.0
    refuse_after: int | None = None

    def __post_init__(self) -> None:
        for name, rate in self.rates.items():
            if name not in FAULTS:
                near = get_close_matches(name, FAULTS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(FAULTS)}"
                raise ConfigError(f"there is no fault {name!r}", hint=hint)
            if not 0 <= rate <= 1:
                raise ConfigError(f"the rate of {name} must be between 0 and 1, got {rate!r}")

    def out(self, age: float) -> bool:
        """Return whether the service is down at *age* seconds."""
        return any(start <= age < start + length for start, length in self.outages)


class Draws:
    """Which fault a call meets. Each has a stream of its own: another's rate shifts none."""

    def __init__(self, rates: Mapping[str, float], seed: int) -> None:
        self._streams: list[tuple[str, float, Stream]] = [
            (name, rates[name], chance(seed, 0, 0, 0, f"fault/{name}"))
            for name in FAULTS
            if rates.get(name)
        ]

    def next(self) -> str:
        """Return the fault of the next call, or an empty text."""
        # All draw, even if the first is due: one fault's rate is to shift no other's.
        due = [name for name, rate, stream in self._streams if stream.fraction() < rate]
        return due[0] if due else ""


def spoilt(reply: ChatReply, fault: str) -> ChatReply:
    """Return *reply* as *fault* makes it."""
    if fault == "filter":
        return msgspec.structs.replace(reply, text="", finish="content_filter")
    if fault == "length":
        half = reply.text[: len(reply.text) // 2]
        return msgspec.structs.replace(reply, text=half, finish="length")
    return reply


def mangled(body: bytes, fault: str) -> bytes:
    """Return the *body* of a reply as *fault* makes it."""
    if fault == "truncated":
        return body[: len(body) // 2]
    if fault == "wrong":
        return b'{"object":"text","said":"something else"}'
    if fault == "empty":
        return b'{"object":"chat.completion","choices":[],"output":[]}'
    return body
