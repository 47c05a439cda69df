"""How a service is told what form a reply must have: by what it understands.

From the strictest on: a JSON schema; a grammar (GBNF, of llama.cpp's servers); a tool that must be
called with such an object; any JSON object; nothing but the words of the prompt.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

Form: TypeAlias = Literal["json_schema", "grammar", "tool", "json_object", "text"]

FORMS: tuple[Form, ...] = ("json_schema", "grammar", "tool", "json_object", "text")
"""All forms, the strictest first."""

TOOL = "answer"
"""The name of the tool whose call is the reply."""

_STRING = r'"\"" ([^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\""'
_INTEGER = '"-"? ([0-9] | [1-9] [0-9]{0,15})'


def after(form: Form) -> Form:
    """Return the next form to try where a service does not understand *form*."""
    return FORMS[min(FORMS.index(form) + 1, len(FORMS) - 1)]


def form_fields(schema: str, form: Form) -> dict[str, Any]:
    """Return the fields of a chat request that ask for a reply that follows *schema*."""
    if form == "json_schema":
        named = {"name": "reply", "schema": msgspec.Raw(schema.encode()), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    if form == "grammar":
        return {"grammar": gbnf(schema)}
    if form == "tool":
        function = {"name": TOOL, "parameters": msgspec.Raw(schema.encode())}
        return {
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": TOOL}},
        }
    return {"response_format": {"type": "json_object"}} if form == "json_object" else {}


def gbnf(schema: str) -> str:
    """Return the grammar of what a *schema* of an object with one field allows, as GBNF.

    Raises ValueError for another schema.
    """
    (name, kind), *more = msgspec.json.decode(schema)["properties"].items()
    if more:
        raise ValueError("expected a schema with one field")
    opening = _literal("{" + json.dumps(name, ensure_ascii=False) + ": ")
    return f'root ::= {opening} value "}}"\nvalue ::= {_value(kind)}\n'


def _value(kind: Mapping[str, Any]) -> str:
    choices = kind.get("enum")
    if choices:
        return " | ".join(_literal(json.dumps(one, ensure_ascii=False)) for one in choices)
    return _INTEGER if kind.get("type") == "integer" else _STRING


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def follows(text: str, schema: str) -> bool:
    """Return whether *text* is an object as *schema*, one with an enumerated field, asks for."""
    ((name, kind),) = msgspec.json.decode(schema)["properties"].items()
    try:
        said = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return isinstance(said, dict) and said.get(name) in kind["enum"]
