"""A small run to record, fork, compare and damage; models that count, break off or tell."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatModel, ChatReply, ChatRequest, TransientError
from engine.calls import Call
from engine.errors import CallFailedError, ServiceError
from engine.messages import Envelope, Message
from sim.config.layers import configured
from sim.config.run import Settings
from sim.runs.run import run
from storage.datasets import open_environment
from storage.environments import Environment
from storage.runs import RunDirectory
from storage.traces import read_trace

M = TypeVar("M")
Trace = list[Envelope[Message]]

PAPER: Settings = {"quit_rule": "billp", "rewards": {"satiation": [0.0, 0.0]}}
"""The rules of BiLLP's paper."""

PLAIN: Settings = {"environment": "synthetic:plain", **PAPER}
"""For tests whose figures are of that world and these rules, and promise nothing of others."""

SMALL: Settings = {
    **PLAIN,
    **{"episodes": 6, "arrivals": "batches:2", "limit": 7, "prompts": False, "fsync": "none"},
}


def words(settings: Settings, prefix: str = "") -> Iterator[str]:
    """Yield the options by which a command is told *settings*."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from words(value, f"{prefix}{name}.")
        else:
            yield from ("--set", f"{prefix}{name}={json.dumps(value)}")


@cache
def synthetic() -> Environment:
    """Return the world of `PLAIN`."""
    return open_environment("synthetic:plain")


@dataclass
class Refusing:
    """The embedded model, which refuses the first attempt at a planner's call, or all of one's."""

    never: int | None = None
    refused: set[int] = field(default_factory=set)
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.episode == self.never:
            raise CallFailedError("not that one", kind="refused")
        if request.call.role == "planner" and request.seed not in self.refused:
            self.refused.add(request.seed)
            raise TransientError("later", kind="rate_limit", retry_after=0.0)
        return await self.model.reply(request)


@dataclass
class Counted:
    """The embedded model, which notes who asks, and breaks off after so many replies."""

    last: int = 1 << 60
    asked: list[Call] = field(default_factory=list)
    model: ChatModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if len(self.asked) >= self.last:
            raise ServiceError("the service is gone")
        self.asked.append(request.call)
        return await self.model.reply(request)


@dataclass
class Failing:
    """The embedded model, which never gets to the reflector of one episode."""

    episode: int = 1
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if (request.call.episode, request.call.role) == (self.episode, "reflector"):
            raise CallFailedError("the server had an error", kind="server")
        return await self.model.reply(request)


@dataclass(frozen=True)
class Telling:
    """The embedded model, whose planner and reflector tell who they are and what they are told."""

    name: str = ""
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        reply = await self.model.reply(request)
        if request.call.role in {"actor", "critic"}:
            return reply
        told = "told" if "Be bold." in request.messages[0].content else "untold"
        text = f"{self.name} {request.sampling.model} {told}: {reply.text}"
        return msgspec.structs.replace(reply, text=text)


def recorded(
    out: Path, model: ChatModel | None = None, *, environment: Environment | None = None, **how: Any
) -> RunDirectory:
    """Return a small run, recorded at *out*."""
    config = configured(SMALL, how)
    run(config, out=out, model=model, environment=environment or synthetic())
    return RunDirectory(out)


def trace_of(directory: RunDirectory) -> Trace:
    return list(read_trace(directory.trace))


def lines_of(directory: RunDirectory) -> list[bytes]:
    return directory.trace.read_bytes().splitlines(keepends=True)


def only(trace: Trace, kind: type[M]) -> list[M]:
    return [envelope.message for envelope in trace if isinstance(envelope.message, kind)]
