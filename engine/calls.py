"""What a handler asks of a model or of an embedder, as far as the kernel must know."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from engine.messages import ModelFailed, ModelReplied
from engine.records import Vector


class Request(Protocol):
    """What a handler asks; only its place matters to the kernel."""

    @property
    def role(self) -> str:
        """Who asks."""
        ...

    @property
    def step(self) -> int:
        """At which step."""
        ...


class Call(msgspec.Struct, frozen=True, gc=False):
    """The identity of a model call; identical prompts in two places are two calls."""

    episode: int
    user: int
    session: int
    step: int
    role: str
    occurrence: int


Answer: TypeAlias = Callable[[Call, Any], Awaitable[ModelReplied | ModelFailed]]
Embed: TypeAlias = Callable[[Sequence[str]], Awaitable[Vector]]
