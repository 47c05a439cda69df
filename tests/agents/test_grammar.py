"""Structured replies: what is asked for as JSON is read as the same answer in words would be."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.billp import actor, critic
from agents.grammar import MOST_CHOICES, Grammar
from engine.errors import UnreadableReplyError
from engine.messages import ActionTaken, PlanMade, ReflectionWritten, StateValued
from sim.config.layers import configured
from sim.runs.run import run
from storage.traces import read_trace
from tests.support.drawn import CHARACTERS
from tests.support.shell import serving

SMALL = {"episodes": 4, "arrivals": "batches:2", "limit": 6, "prompts": False}


@pytest.mark.parametrize(
    ("name", "grammar"), [("title", actor.STRUCTURED), ("value", critic.STRUCTURED)]
)
def test_schemas_are_those_of_strict_services(name: str, grammar: Grammar[Any]) -> None:
    """They want every field required and no other allowed."""
    schema = json.loads(grammar.schema())
    assert (schema["required"], schema["additionalProperties"]) == ([name], False)
    assert [*schema["properties"]] == [name]
    assert f'"{name}"' in grammar.words


@given(st.lists(st.text(CHARACTERS, min_size=1), max_size=5), st.booleans())
def test_the_schema_of_a_choice_names_what_can_be_chosen(titles: list[str], many: bool) -> None:
    """Whatever its letters, each once; where there is nothing to choose from it names none."""
    titles = titles * MOST_CHOICES if many else titles
    kind = json.loads(actor.STRUCTURED.schema(titles))["properties"]["title"]
    distinct = [*dict.fromkeys(titles)]
    assert kind == {"type": "string", **({"enum": distinct} if distinct else {})}
    assert actor.PLAIN.schema(titles) == ""


def test_of_too_many_choices_none_is_named() -> None:
    titles = [str(number) for number in range(MOST_CHOICES + 1)]
    assert "enum" not in json.loads(actor.STRUCTURED.schema(titles))["properties"]["title"]
    assert "enum" in json.loads(actor.STRUCTURED.schema(titles[1:]))["properties"]["title"]


@pytest.mark.parametrize(
    "reply",
    [
        '{"title": "Go Master"}',
        '```json\n{"title": "Go Master"}\n```',
        ' {"title":" Go Master "}\n',
    ],
)
def test_objects_are_read_however_they_are_wrapped(reply: str) -> None:
    assert actor.STRUCTURED.read(reply) == "Go Master"


@pytest.mark.parametrize(
    "reply",
    ["", "Go Master", "{", '{"name": "x"}', '{"title": null}', '{"title": ""}', "[1]", '"x"'],
)
def test_what_is_no_such_object_is_unreadable(reply: str) -> None:
    with pytest.raises(UnreadableReplyError):
        actor.STRUCTURED.read(reply)


@pytest.mark.parametrize("reply", ['{"value": 6}', '{"value": "high"}', '{"value": true}'])
def test_a_value_out_of_bounds_is_unreadable(reply: str) -> None:
    """A service may pass over what the schema says."""
    with pytest.raises(UnreadableReplyError):
        critic.STRUCTURED.read(reply)


def test_words_are_read_where_an_object_was_asked_for() -> None:
    """Some services take a schema for a suggestion."""
    assert actor.STRUCTURED.read("I recommend[Go Master].") == "Go Master"
    assert actor.STRUCTURED.read('Here it is: {"title": "Go Master"}. Enjoy!') == "Go Master"
    assert critic.STRUCTURED.read("-3") == critic.STRUCTURED.read('{"value": -3}') == -3.0


def said(out: Path, *types: type) -> list[Any]:
    trace = read_trace(out / "trace.jsonl")
    return [e.message for e in trace if isinstance(e.message, types)]


def test_structured_replies_say_the_same(tmp_path: Path) -> None:
    """Thoughts, actions, values and reflections of the embedded model are those said in words."""
    types = PlanMade, ActionTaken, StateValued, ReflectionWritten
    run(configured(SMALL, {"structured": False}), out=tmp_path / "words")
    run(configured(SMALL, {"structured": True}), out=tmp_path / "json")
    assert said(tmp_path / "json", *types) == said(tmp_path / "words", *types)


def test_services_are_sent_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP the run is the same as in process: the schema arrives as it left."""
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    settings = {**SMALL, "structured": True}
    run(configured(settings), out=tmp_path / "here")
    with serving() as url:
        there = configured(settings, {"model": "openai/embedded", "base_url": url})
        run(there, out=tmp_path / "there")
    traces = [(tmp_path / name / "trace.jsonl").read_bytes() for name in ("here", "there")]
    assert traces[0] == traces[1]
