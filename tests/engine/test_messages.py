"""Messages: immutable facts with rounded numbers, and a format that old traces rely on."""

import math
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages import (
    SCHEMA,
    ActionTaken,
    AdvantageEstimated,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    HandlerFailed,
    MemoryLength,
    MemoryWritten,
    Message,
    ModelFailed,
    ModelReplied,
    PlanMade,
    PlanRequested,
    Rated,
    Recalled,
    ReflectionWritten,
    RunEnded,
    RunStarted,
    StateValued,
    ToolResult,
    UserResponded,
    check_numbers,
    number,
)
from engine.tree import encode

RECALLED = (Recalled(position=3, episode=1, distance=0.25),)
MESSAGES: list[Message] = [
    RunStarted(schema=1, agent="a", model="m", environment="e", seed=7, settings=(("x", 1.5),)),
    RunEnded(episodes=3, failed=1),
    EpisodeStarted(
        user=4,
        session=0,
        arrival=12,
        history=(Rated(item=1, title="Ōkami", rating=4.5),),
        memories=(MemoryLength(memory="actor", length=9),),
    ),
    PlanRequested(step=0),
    PlanMade(step=0, thought="line\nline\r\u2028", reflections=RECALLED),
    ActionTaken(
        step=0,
        item=2,
        title="Portal",
        words="recommend[portal]",
        grounding="fuzzy",
        distance=0.125,
        recalled=RECALLED,
        tools=(ToolResult(tool="untried", text="Puzzle"),),
    ),
    UserResponded(step=0, reward=3.5, left=True, reason="similar"),
    StateValued(state=1, value=-2.0, recalled=RECALLED),
    EpisodeEnded(length=1, reward=3.5, reason="quit"),
    ReflectionWritten(text="less of the same"),
    EpisodeSettled(),
    AdvantageEstimated(step=0, value=1.0, next_value=2.0, advantage=4.5),
    MemoryWritten(memory="actor", count=1),
    EpisodeFailed(why="nobody answered"),
    HandlerFailed(handler="Actor.act", error="KeyError"),
    ModelReplied(
        step=0,
        role="actor",
        occurrence=1,
        request="ab12",
        text="yes",
        prompt_tokens=5,
        completion_tokens=1,
    ),
    ModelFailed(step=0, role="actor", occurrence=1, request="ab12", error="timeout"),
]
"""One message of every type."""

FIELDS = {
    RunStarted: "schema agent model environment seed settings",
    RunEnded: "episodes failed",
    EpisodeStarted: "user session arrival history memories",
    PlanRequested: "step",
    PlanMade: "step thought reflections",
    ActionTaken: "step item title words grounding distance recalled tools",
    UserResponded: "step reward left reason",
    StateValued: "state value recalled",
    EpisodeEnded: "length reward reason",
    ReflectionWritten: "text",
    EpisodeSettled: "",
    AdvantageEstimated: "step value next_value advantage",
    MemoryWritten: "memory count",
    EpisodeFailed: "why",
    HandlerFailed: "handler error",
    ModelReplied: "step role occurrence request text prompt_tokens completion_tokens",
    ModelFailed: "step role occurrence request error",
    Envelope: "episode n cause time message",
    Rated: "item title rating",
    Recalled: "position episode distance",
    ToolResult: "tool text",
    MemoryLength: "memory length",
}
"""What traces of `SCHEMA` 1 hold."""

numbers = st.floats(allow_nan=False, allow_infinity=False)


def named(message: Message) -> str:
    return type(message).__name__


def parts(hint: Any) -> Iterator[Any]:
    """Yield the types that a field's type is made of, all the way down."""
    if hint in {int, float, str, bool, NoneType} or get_origin(hint) is Literal:
        yield hint
    elif get_origin(hint) in {UnionType, Union, tuple}:
        yield get_origin(hint)
        for inner in get_args(hint):
            if inner is not ...:
                yield from parts(inner)
    else:
        yield hint
        for inner in get_type_hints(hint).values() if hasattr(hint, "__struct_fields__") else ():
            yield from parts(inner)


def places(message: Any) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths to all floats in a message."""
    for name, value in msgspec.structs.asdict(message).items():
        if isinstance(value, float):
            yield (name,)
        for index, inner in enumerate(value if isinstance(value, tuple) else ()):
            if isinstance(inner, msgspec.Struct):
                yield from ((name, index, *path) for path in places(inner))


def changed(message: Any, path: tuple[Any, ...], value: float) -> Any:
    """Return *message* with *value* in the place that *path* leads to."""
    if len(path) == 1:
        return msgspec.structs.replace(message, **{path[0]: value})
    name, index, *rest = path
    inner = list(getattr(message, name))
    inner[index] = changed(inner[index], tuple(rest), value)
    return msgspec.structs.replace(message, **{name: tuple(inner)})


NUMBERS = [
    pytest.param(message, path, id=f"{named(message)}-{path[0]}")
    for message in MESSAGES
    if not isinstance(message, RunStarted)
    for path in places(message)
]
"""Every float of every message."""


def test_the_samples_are_all_messages() -> None:
    assert [type(message) for message in MESSAGES] == list(get_args(Message))


@pytest.mark.parametrize("message", MESSAGES, ids=named)
def test_a_message_is_immutable_all_the_way_down(message: Message) -> None:
    """Tuples, numbers, texts and frozen structs; nothing that can be changed or has no order."""
    for part in parts(type(message)):
        if hasattr(part, "__struct_config__"):
            assert part.__struct_config__.frozen
        else:
            allowed = {int, float, str, bool, NoneType, tuple, UnionType, Union}
            assert part in allowed or get_origin(part) is Literal
    hash(message)


@pytest.mark.parametrize("message", MESSAGES, ids=named)
def test_a_message_cannot_be_changed(message: Message) -> None:
    for name in type(message).__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(message, name, getattr(message, name))


@pytest.mark.parametrize("message", MESSAGES, ids=named)
def test_fields_are_given_by_name(message: Message) -> None:
    values, make = msgspec.structs.astuple(message), cast("type[Any]", type(message))
    assert make(**msgspec.structs.asdict(message)) == message
    if values:
        with pytest.raises(TypeError, match="positional"):
            make(*values)


@pytest.mark.parametrize("message", MESSAGES, ids=named)
def test_what_was_encoded_is_decoded(message: Message) -> None:
    """In one line, whatever the texts hold, and tagged by the name of the type."""
    envelope = Envelope(episode=2, n=1, cause=0, time=3, message=message)
    line = encode(envelope)
    assert msgspec.json.decode(line, type=Envelope[Message]) == envelope
    assert len(line.splitlines()) == 1
    assert f'"message":{{"type":"{named(message)}"'.encode() in line


@pytest.mark.parametrize("kind", FIELDS)
def test_a_change_that_breaks_old_traces_is_noticed(kind: type[msgspec.Struct]) -> None:
    """Within a schema fields may only be added, at the end and with a default."""
    assert SCHEMA == 1
    known = FIELDS[kind].split()
    fields = msgspec.structs.fields(kind)
    assert [field.name for field in fields[: len(known)]] == known
    assert not any(field.required for field in fields[len(known) :])


def test_a_field_of_a_later_version_is_passed_over() -> None:
    line = (
        b'{"episode":0,"n":1,"cause":0,"time":0,"message":{"type":"PlanRequested","step":1,"x":2}}'
    )
    assert msgspec.json.decode(line, type=Envelope[Message]).message == PlanRequested(step=1)


@given(value=numbers)
def test_a_number_has_6_significant_digits(value: float) -> None:
    rounded = number(value)
    assert math.isclose(rounded, value, rel_tol=5.000001e-6, abs_tol=1e-320)
    assert float(f"{rounded:.6g}") == rounded


@given(value=numbers)
def test_rounding_twice_is_rounding_once(value: float) -> None:
    assert repr(number(number(value))) == repr(number(value))


@given(value=st.sampled_from([0.0, -0.0, -5e-324]) | numbers)
def test_zero_has_no_sign(value: float) -> None:
    assert repr(number(value)) != "-0.0"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        number(value)


@given(value=numbers)
def test_a_rounded_number_passes(value: float) -> None:
    check_numbers(StateValued(state=0, value=number(value)))


@pytest.mark.parametrize("message", MESSAGES, ids=named)
def test_the_samples_pass(message: Message) -> None:
    check_numbers(message)


@pytest.mark.parametrize(("message", "path"), NUMBERS)
@pytest.mark.parametrize("value", [0.1 + 0.2, math.nan, -math.inf, -0.0, np.float64(0.5)])
def test_every_number_of_every_message_is_checked(
    message: Message, path: tuple[Any, ...], value: float
) -> None:
    """Unrounded, not finite, a zero with a sign, or a number that cannot be encoded."""
    with pytest.raises(ValueError, match=r"finite|must be rounded"):
        check_numbers(changed(message, path, value))
