"""Two episodes side by side: aligned by step, with what differs in each, and where it began."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Literal, TypeAlias

import msgspec

from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    HandlerFailed,
    Message,
    ModelFailed,
    PlanMade,
    Recalled,
    ReflectionWritten,
    StateValued,
    UserResponded,
)
from sim.runs.divergence import Difference, explain

Envelopes: TypeAlias = Sequence[Envelope[Message]]

BEFORE, AFTER = -1, 1 << 40
"""Where stands what came before the first step, and after the last."""

_TOOL = "tool "
_MOST = 1_000_000  # pairs of words: of longer texts only the whole is compared
_WORDS = re.compile(r"\s+|\d+(?:\.\d+)?|\w+|[^\w\s]")


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a text, *own* to it if the other text has something else there."""

    text: str
    own: bool


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """What both episodes say of something: in *pieces* of the one and of the *other*.

    Empty where one says nothing of it.
    """

    name: str
    one: tuple[Piece, ...]
    other: tuple[Piece, ...]
    differs: bool


class StepSides(msgspec.Struct, frozen=True, kw_only=True):
    """A *step* in both; *first* if the first envelope that differs stands in it."""

    step: int
    facts: tuple[Fact, ...]
    first: bool

    @property
    def differs(self) -> bool:
        """Whether anything in it does."""
        return any(fact.differs for fact in self.facts)

    @property
    def tools(self) -> frozenset[str]:
        """The names of what tools said, which is long."""
        return frozenset(f.name for f in self.facts if f.name.startswith(_TOOL))


class First(msgspec.Struct, frozen=True, kw_only=True):
    """The first envelope that differs: its place, its message, the field, and what stands there."""

    n: int
    message: str
    field: str
    one: str
    other: str
    place: int


class Sides(msgspec.Struct, frozen=True, kw_only=True):
    """Two episodes; *first* is None if they are the same."""

    first: First | None
    steps: tuple[StepSides, ...]

    @property
    def parting(self) -> tuple[int, str] | None:
        """The first step in which anything was said or done otherwise, and what that was.

        Visits of other arrivals, or with other memories, differ before they begin.
        """
        differing = (
            (step.step, fact.name)
            for step in self.steps
            for fact in step.facts
            if fact.differs and step.step != BEFORE and fact.name not in step.tools
        )
        return next(differing, None)


def sides(one: Envelopes, other: Envelopes) -> Sides:
    """Return two episodes side by side, whatever their numbers in their runs."""
    first = _first(one, other)
    mine, theirs = _told(one), _told(other)
    places = sorted({*mine, *theirs})
    return Sides(
        first=first,
        steps=tuple(
            StepSides(
                step=place,
                facts=tuple(_facts(mine.get(place, {}), theirs.get(place, {}))),
                first=first is not None and first.place == place,
            )
            for place in places
        ),
    )


# -- the first difference


def _first(one: Envelopes, other: Envelopes) -> First | None:
    for mine, theirs in zip_longest(map(_numbered, one), map(_numbered, other)):
        if mine != theirs:
            told = mine or theirs
            place = BEFORE if told is None else _place(told.message)
            return _told_first(explain(0, _line(mine), _line(theirs), ()), place)
    return None


def _numbered(envelope: Envelope[Message]) -> Envelope[Message]:
    return msgspec.structs.replace(envelope, episode=0)


def _line(envelope: Envelope[Message] | None) -> bytes | None:
    return None if envelope is None else msgspec.json.encode(envelope)


def _told_first(found: Difference, place: int) -> First:
    return First(
        n=found.n,
        message=found.message,
        field=found.field,
        one=_text(found.recorded),
        other=_text(found.got),
        place=place,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# -- what is said of each step


def _told(envelopes: Envelopes) -> dict[int, dict[str, str]]:
    """Return by place what is said there, by name."""
    found: dict[int, dict[str, str]] = {}
    for envelope in envelopes:
        facts = {name: text for name, text in _said(envelope.message) if text}
        if facts:
            found.setdefault(_place(envelope.message), {}).update(facts)
    return found


def _place(message: Message) -> int:
    if isinstance(message, EpisodeStarted):
        return BEFORE
    if isinstance(message, StateValued):  # the value of state n + 1 follows from step n
        return message.state - 1 if message.state else BEFORE
    step: int = getattr(message, "step", AFTER)
    return step


def _said(message: Message) -> Iterator[tuple[str, str]]:
    match message:
        case EpisodeStarted():
            yield "user", f"{message.user}, session {message.session}"
            yield "history", "\n".join(f"{one.rating:g} {one.title}" for one in message.history)
            yield "records seen", ", ".join(f"{m.length} {m.memory}" for m in message.memories)
        case PlanMade():
            yield "reflections recalled", _recalled(message.reflections)
            yield "thought", message.thought
        case ActionTaken():
            yield "experiences recalled", _recalled(message.recalled)
            yield from ((f"{_TOOL}{one.tool}", one.text) for one in message.tools)
            yield "words", message.words
            yield "recommended", f"{message.title} (item {message.item})"
        case _:
            yield from _said_then(message)


def _said_then(message: Message) -> Iterator[tuple[str, str]]:
    match message:
        case UserResponded():
            yield "reward", f"{message.reward:g}"
            yield "left", (message.reason or "left") if message.left else ""
        case StateValued():
            yield f"value of state {message.state}", f"{message.value:g}"
        case AdvantageEstimated():
            yield "advantage", f"{message.advantage:g}"
        case EpisodeEnded():
            yield "ended", f"{message.reason} after {message.length} steps: {message.reward:g}"
        case ReflectionWritten():
            yield "reflection", message.text
        case EpisodeFailed():
            yield "failed", message.why
        case HandlerFailed() | ModelFailed():
            yield "error", message.error


def _recalled(records: Sequence[Recalled]) -> str:
    return "\n".join(f"record {r.position} of episode {r.episode}, {r.distance:g}" for r in records)


# -- what differs


def _facts(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[Fact]:
    for name in {**one, **other}:
        a, b = one.get(name, ""), other.get(name, "")
        mine, theirs = pieces(a, b)
        yield Fact(name=name, one=mine, other=theirs, differs=a != b)


def pieces(one: str, other: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Return both texts in pieces: words that they share, and words that are one's own."""
    a, b = _WORDS.findall(one), _WORDS.findall(other)
    if not (one and other) or one == other:  # nothing to tell apart
        return _whole(one, own=False), _whole(other, own=False)
    if len(a) * len(b) > _MOST:
        return _whole(one, own=True), _whole(other, own=True)
    # In a long text words that are everywhere anchor nothing: of them alone it would take minutes.
    blocks = SequenceMatcher(None, a, b, autojunk=True).get_opcodes()
    mine = [("".join(a[i:j]), tag) for tag, i, j, _, _ in blocks]
    theirs = [("".join(b[i:j]), tag) for tag, _, _, i, j in blocks]
    return _pieces(mine), _pieces(theirs)


def _pieces(
    parts: Sequence[tuple[str, Literal["replace", "delete", "insert", "equal"]]],
) -> tuple[Piece, ...]:
    return tuple(Piece(text=text, own=tag != "equal") for text, tag in parts if text)


def _whole(text: str, *, own: bool) -> tuple[Piece, ...]:
    return (Piece(text=text, own=own),) if text else ()
