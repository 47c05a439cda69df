"""How a role is to answer: in words of its own grammar, or structured, as a JSON object."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from engine.errors import UnreadableReplyError

R = TypeVar("R")


@dataclass(frozen=True)
class Grammar(Generic[R]):
    """The *words* that ask for an answer, how it is *read*, and its JSON *schema* if it has one.

    *read* raises UnreadableReplyError.
    """

    words: str
    read: Callable[[str], R]
    schema: str = ""


def structured(
    name: str, kind: Mapping[str, Any], example: str | int, read: Callable[[str], R]
) -> Grammar[R]:
    """Return the grammar of a JSON object whose one field, called *name*, is of a schema *kind*.

    *read* is told the field's value as text.
    """
    schema = {
        "type": "object",
        "properties": {name: dict(kind)},
        "required": [name],
        "additionalProperties": False,
    }
    shown = json.dumps({name: example}, ensure_ascii=False)
    return Grammar(
        words=f"Answer with a JSON object and nothing else.\n\nExample of an answer:\n{shown}",
        read=lambda text: read(_field(text, name)),
        schema=json.dumps(schema),
    )


def _field(text: str, name: str) -> str:
    """Return the field called *name* of a JSON object; some wrap it as Markdown."""
    body = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        return str(msgspec.json.decode(body, type=dict[str, str | int | float])[name])
    except (msgspec.MsgspecError, KeyError) as error:
        what = f"expected a JSON object with {name!r}, got {text[:60]!r}"
        raise UnreadableReplyError(what) from error


def field_of(schema: str) -> str:
    """Return the name of the one field that the *schema* of a structured grammar asks for."""
    (name,) = json.loads(schema)["properties"]
    return str(name)
