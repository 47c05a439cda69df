"""Prompts that go on as the last one did: what a service that keeps what it has read need not read.

Services charge less for it, and are faster. Where one that should know the beginning of prompts
does not, something stands between: a proxy, a router over many machines, a cache that is too small.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeAlias

from agents.models.model import ChatRequest
from engine.attempt import log
from storage.journal import CallEnded

Stream: TypeAlias = tuple[str, int, int]
"""(role, user, session): calls whose prompts go on as they began."""

_MOST = 4_096  # streams of which the last prompt is kept
_LEAST = 1_024  # tokens below which services keep nothing (OpenAI's documentation)
_CALLS = 100
_LITTLE = 0.1


@dataclass(eq=False)
class Prefixes:
    """Tells how much of a prompt was asked before; keeps the last prompt of each stream."""

    last: OrderedDict[Stream, str] = field(default_factory=OrderedDict)

    def shared(self, request: ChatRequest) -> float:
        """Return the share of a request's text that is how the last one of its stream began.

        For the first of its stream that is the share of its system prompt, which others had.
        """
        call = request.call
        system, text = request.messages[0].content, request.messages[-1].content
        stream = call.role, call.user, call.session
        before = self.last.pop(stream, None)
        self.last[stream] = text
        if len(self.last) > _MOST:
            self.last.popitem(last=False)
        known = len(system) + (0 if before is None else _common(before, text))
        return known / max(1, len(system) + len(text))


def _common(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(eq=False)
class PrefixWatch:
    """Hears the calls of a run as they end, and says once if a service knows little of them."""

    prefixes: Prefixes = field(default_factory=Prefixes)
    calls: int = 0
    expected: float = 0.0
    known: int = 0

    def __call__(self, request: ChatRequest, ended: CallEnded) -> None:
        """Take note of a call."""
        expected = self.prefixes.shared(request) * ended.prompt_tokens
        if not ended.attempts or expected < _LEAST or self.calls >= _CALLS:
            return
        self.calls += 1
        self.expected += expected
        self.known += ended.cached_tokens
        if self.calls == _CALLS and self.known < _LITTLE * self.expected:
            log(
                "warning",
                "the service reads prompts anew that it has read before",
                role=request.call.role,
                tokens_it_could_know=round(self.expected),
                tokens_it_knew=self.known,
            )
