"""How a role is to answer: in words of its own grammar, or structured, as a JSON object.

Who reasons does so freely. Only a last choice is constrained: an item of those that are listed, a
number of those that there are.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec

R = TypeVar("R")

_encode = json.JSONEncoder(ensure_ascii=False).encode  # one for all: to make it costs as much

MOST_CHOICES = 500
"""Choices that a schema names; of more it names none: services refuse schemas that are too long."""


@dataclass(frozen=True)
class Grammar(Generic[R]):
    """The *words* that ask for an answer, and how it is *read*: raises UnreadableReplyError.

    A structured one asks for a JSON object with one field of that *name*, of a schema *kind*.
    """

    words: str
    read: Callable[[str], R]
    name: str = ""
    kind: Mapping[str, Any] = field(default_factory=dict)

    def schema(self, choices: Iterable[str] = ()) -> str:
        """Return the JSON schema of an answer that is one of *choices*, if there are any.

        It is empty where the answer is one in words.
        """
        if not self.name:
            return ""
        named = dict.fromkeys(choices)
        if not 0 < len(named) <= MOST_CHOICES:
            return self._unnamed
        return _schema(self.name, {"type": "string", "enum": [*named]})

    @cached_property
    def _unnamed(self) -> str:
        return _schema(self.name, self.kind)


def structured(
    name: str,
    kind: Mapping[str, Any],
    words: str,
    read: Callable[[str], R],
    otherwise: Callable[[str], R],
) -> Grammar[R]:
    """Return the grammar of a JSON object whose one field, called *name*, is of a schema *kind*.

    *words* say what the field is, and *read* is told it as text. An answer that is no such object
    is read *otherwise*: some services take a schema for a suggestion.
    """

    def either(text: str) -> R:
        found = _field(text, name)
        return otherwise(text) if found is None else read(found)

    asked = f"Answer with a JSON object and nothing else. {words}"
    return Grammar(words=asked, read=either, name=name, kind=kind)


def _schema(name: str, kind: Mapping[str, Any]) -> str:
    schema = {
        "type": "object",
        "properties": {name: kind},
        "required": [name],
        "additionalProperties": False,
    }
    return _encode(schema)


def _field(text: str, name: str) -> str | None:
    """Return the field called *name* of the JSON object in *text*, be there words around it."""
    body = text[text.find("{") : text.rfind("}") + 1]
    try:
        return str(msgspec.json.decode(body, type=dict[str, str | int | float])[name])
    except (msgspec.MsgspecError, KeyError):
        return None
