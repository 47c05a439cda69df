"""Structured replies: what is asked for as JSON is read as the same answer in words would be."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.billp import actor, critic, planner, reflector
from agents.grammar import Grammar, field_of, structured
from engine.errors import UnreadableReplyError
from engine.messages import ActionTaken, PlanMade, ReflectionWritten, StateValued
from sim.config.layers import configured
from sim.runs.run import run
from storage.traces import read_trace
from tests.support.shell import serving

STRUCTURED: dict[str, Grammar[Any]] = {
    "thought": planner.STRUCTURED,
    "title": actor.STRUCTURED,
    "value": critic.STRUCTURED,
    "reflection": reflector.STRUCTURED,
}
SMALL = {"episodes": 4, "arrivals": "batches:2", "limit": 6, "prompts": False}


@pytest.mark.parametrize("name", STRUCTURED)
def test_the_example_follows_the_schema(name: str) -> None:
    """Strict services want every field required and no other allowed; what is shown is read."""
    grammar = STRUCTURED[name]
    schema = json.loads(grammar.schema)
    assert (schema["required"], schema["additionalProperties"]) == ([name], False)
    assert field_of(grammar.schema) == name
    example = grammar.words.split("Example of an answer:\n")[1]
    assert str(json.loads(example)[name]) in (str(grammar.read(example)), "2")


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


def test_a_field_is_read_by_its_own_rules() -> None:
    """The same as in words: the first paragraph of a thought, whole numbers of values."""
    assert planner.STRUCTURED.read('{"thought": "Take\\nPuzzle.\\n\\nMore."}') == "Take Puzzle."
    assert critic.STRUCTURED.read('{"value": -3}') == -3.0
    assert structured("n", {"type": "integer"}, 1, int).read('{"n": 7}') == 7


def said(out: Path, *types: type) -> list[Any]:
    trace = read_trace(out / "trace.jsonl")
    return [e.message for e in trace if isinstance(e.message, types)]


def test_structured_replies_say_the_same(tmp_path: Path) -> None:
    """Thoughts, actions, values and reflections of the embedded model are those said in words."""
    types = PlanMade, ActionTaken, StateValued, ReflectionWritten
    run(configured(SMALL), out=tmp_path / "words")
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
