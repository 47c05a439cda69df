"""Listeners and followers of the user's own: `package.module:Class`, or what a package offers.

Such a class is made without arguments and called with each message it hears. Its attributes say the
rest: *hears*, a message type or a union of them (default: every message); *live*, true for a live
listener instead of a follower; a method `result()`, whose value goes into summary.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from types import UnionType
from typing import Any, Protocol, TypeVar

import msgspec

from engine.attempt import attempted, log, told, told_briefly
from engine.bus import Bus, kinds
from engine.errors import ConfigError
from engine.messages import Message
from storage.parts import Parts, made_of

T = TypeVar("T")


class Listener(Protocol):
    """A listener or a follower."""

    def __call__(self, envelope: Any, /) -> Any:
        """Hear a message with its place (`Envelope`, or `Live` for a live listener)."""
        ...


@dataclass(frozen=True)
class Listeners:
    """Listeners by the name under which they were asked for."""

    by_name: dict[str, Listener]

    def attach(self, bus: Bus[T]) -> dict[str, str]:
        """Subscribe them by their names; return why, for those that cannot be."""
        dropped = {}
        for name, listener in self.by_name.items():
            with bus.known_as(name):
                _, error = attempted(partial(_attach, listener, bus))
            if error is not None:
                dropped[name] = told_briefly(error)
                log("error", "listener dropped", error, listener=name)
        return dropped

    def results(self) -> dict[str, Any]:
        """Return what those that have a result found."""
        having = {name: _result(name, listener) for name, listener in self.by_name.items()}
        return {name: result for name, result in having.items() if result is not msgspec.UNSET}


def _attach(listener: Listener, bus: Bus[T]) -> None:
    hears: type | UnionType = getattr(listener, "hears", Message)
    if getattr(listener, "live", False):
        bus.listen(hears, listener)
    else:
        bus.follow(hears, listener)


def _result(name: str, listener: Listener) -> Any:
    """Return what *listener* found, as JSON can hold it; what it raises must not cost the run."""
    result, error = attempted(partial(_found, listener))
    if error is not None:
        log("error", "listener without result", error, listener=name)
        return {"error": told(error)}
    return result


_LARGEST = 10_000_000  # bytes of JSON
_DEEPEST = 100


def _found(listener: Any) -> Any:
    if not hasattr(listener, "result"):
        return msgspec.UNSET
    value = msgspec.to_builtins(listener.result())
    _check(value)
    text = msgspec.json.encode(value)
    if len(text) > _LARGEST:
        raise ValueError(f"{len(text):,} bytes of JSON, expected at most {_LARGEST:,}")
    return msgspec.json.decode(text)


def _check(value: Any) -> None:
    """Raise ValueError if a number in *value* is none, or it is too deep to be written and read."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} lists and objects in each other")
        below: list[Any] = []
        for one in level:
            if isinstance(one, float) and not isfinite(one):
                raise ValueError(f"{one} is no number in JSON")
            if isinstance(one, dict):
                below += one.values()
            elif isinstance(one, list | tuple):
                below += one
        level = below


NO_LISTENERS = Listeners({})


def listeners_of(given: Mapping[str, Listener] | Listeners) -> Listeners:
    """Return listeners that are given by name."""
    return given if isinstance(given, Listeners) else Listeners(dict(given))


def load_listeners(names: list[str]) -> Listeners:
    """Return the listeners called *names*; raises ConfigError if one cannot be made."""
    return Listeners({name: _load(name) for name in names})


LISTENERS: Parts[object] = Parts("listener", "billp.listeners", object, {})


def _load(name: str) -> Listener:
    listener: Listener = made_of(LISTENERS, name)
    _, error = attempted(lambda: kinds(getattr(listener, "hears", Message)))
    if error is not None:
        raise ConfigError(f"listener {name!r} cannot be made: {told(error)}") from error
    return listener
