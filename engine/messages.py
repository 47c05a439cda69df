"""Every message type, the `Message` union, and the `Envelope` that places a message.

Messages are facts: frozen, named noun + past participle, carrying what is new and nothing else.
Their fields are immutable all the way down and hold nothing of the real world's accidents: no real
time, latency, path or attempt. One encoded envelope is one line of a trace.

Rules of change: a field may be added at the end with a default, and a type may be added; both keep
`SCHEMA`. Anything else (renaming, removing, reordering, another meaning) raises `SCHEMA` by one,
and traces of the older version are then refused with a sentence that names it.
"""

import math
from typing import Generic, Literal, TypeAlias, TypeVar

import msgspec

SCHEMA = 1

Setting: TypeAlias = bool | int | float | str
GroundingKind: TypeAlias = Literal["exact", "normalised", "fuzzy", "nearest", "fallback", "policy"]
Phase: TypeAlias = Literal["train", "test"]


# What a message has many of is an array: names would be most of a trace. gc=False saves the
# collector the walk through millions of messages, which are in no circle.
class Rated(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """An item with the rating the user gave it before the episode."""

    item: int
    title: str
    rating: float


class Recalled(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A record that a memory gave back: its position, the episode that wrote it, how far."""

    position: int
    episode: int
    distance: float


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What a tool of the actor said."""

    tool: str
    text: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What a quit *rule* went by: a *measure* that lay beyond its *bound*.

    Of likeness that is the distance to *item*, one of those that were shown before.
    """

    rule: str
    measure: float
    bound: float
    item: int | None = None


class MemoryLength(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """How many records of a memory an episode may see."""

    memory: str
    length: int


class ForkedFrom(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """The digest of a parent run, and the (episode, step) from which on a run went its own way.

    *said* is what roles said there in place of their models: (role, text).
    """

    parent: str
    episode: int
    step: int
    said: tuple[tuple[str, str], ...] = ()


class RunStarted(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False, omit_defaults=True):
    """A run began; the head of a trace, with everything that decides its result.

    *settings* are those of its end; *forks* are the forks that it comes from, oldest first.
    """

    schema: int
    agent: str
    model: str
    environment: str
    seed: int
    settings: tuple[tuple[str, Setting], ...]
    forks: tuple[ForkedFrom, ...] = ()


class RunEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A run came to its end."""

    episodes: int
    failed: int


class EpisodeStarted(
    msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False, omit_defaults=True
):
    """A user arrived; *arrival* is virtual time in milliseconds.

    *phase* says whether agents are trained or tested; an episode that is not *teaching* leaves
    nothing in memory.
    """

    user: int
    session: int
    arrival: int
    history: tuple[Rated, ...]
    memories: tuple[MemoryLength, ...]
    phase: Phase = "train"
    teaching: bool = True


class PlanRequested(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The user waits for a recommendation."""

    step: int


class PlanMade(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The planner wrote its thought for a step, having recalled reflections."""

    step: int
    thought: str
    reflections: tuple[Recalled, ...] = ()


class ActionTaken(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The actor recommended an item.

    *words* are what the model said; *grounding* tells how they became the item, and *distance* how
    far the item is from them (0 for an exact title, 1 for nothing in common).
    """

    step: int
    item: int
    title: str
    words: str
    grounding: GroundingKind
    distance: float
    recalled: tuple[Recalled, ...] = ()
    tools: tuple[ToolResult, ...] = ()


class UserResponded(
    msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False, omit_defaults=True
):
    """The user answered with the true reward, and perhaps left: *reason* is the quit rule's.

    *evidence* is what the rule went by, where it tells.
    """

    step: int
    reward: float
    left: bool
    reason: str | None = None
    evidence: Evidence | None = None


class StateValued(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The critic estimated the value of a state; step n leads from state n to state n + 1."""

    state: int
    value: float
    recalled: tuple[Recalled, ...] = ()


class EpisodeEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The user left, or the limit cut the episode short; *reward* is the sum over its steps."""

    length: int
    reward: float
    reason: Literal["quit", "limit"]


class ReflectionWritten(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The reflector drew its lesson from an episode."""

    text: str


class EpisodeSettled(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """All handlers of an ended episode are done: the join."""


class AdvantageEstimated(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The critic estimated what a step was worth beyond expectation."""

    step: int
    value: float
    next_value: float
    advantage: float


class MemoryWritten(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """An episode left *count* records for a memory."""

    memory: str
    count: int


class EpisodeFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """An episode came to nothing: nothing of it is remembered."""

    why: str


class HandlerFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A handler raised; *error* is the class of what it raised."""

    handler: str
    error: str


class ModelReplied(
    msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False, omit_defaults=True
):
    """A model replied to the call (*step*, *role*, *occurrence*) of its episode.

    *request* is the digest of the whole request; tokens are as the service counted them. *finish*
    is why the reply ended if it had not come to its end: `length` or `repetition`.
    """

    step: int
    role: str
    occurrence: int
    request: str
    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: str = ""


class ModelFailed(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A call failed for good; *error* is its kind, without what differs from try to try."""

    step: int
    role: str
    occurrence: int
    request: str
    error: str


Message: TypeAlias = (
    RunStarted
    | RunEnded
    | EpisodeStarted
    | PlanRequested
    | PlanMade
    | ActionTaken
    | UserResponded
    | StateValued
    | EpisodeEnded
    | ReflectionWritten
    | EpisodeSettled
    | AdvantageEstimated
    | MemoryWritten
    | EpisodeFailed
    | HandlerFailed
    | ModelReplied
    | ModelFailed
)

M = TypeVar("M")


class Envelope(msgspec.Struct, Generic[M], frozen=True, kw_only=True, gc=False):
    """A message with its place in the canonical order.

    *episode* is None for the messages of the run itself; *n* counts from 0 within the episode (or
    the run); *cause* is the *n* of the envelope that led to this one; *time* is virtual time in
    milliseconds.
    """

    episode: int | None
    n: int
    cause: int | None
    time: int
    message: M


def number(value: float) -> float:
    """Return *value* as numbers stand in messages: 6 significant digits, no −0.

    Raises ValueError for what is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(f"a number of a message must be finite, got {value!r}")
    # Adding 0.0 turns −0.0 into 0.0.
    return float(f"{value:.6g}") + 0.0


_FLOATS: dict[type, tuple[str, ...]] = {
    ActionTaken: ("distance",),
    UserResponded: ("reward",),
    StateValued: ("value",),
    EpisodeEnded: ("reward",),
    AdvantageEstimated: ("value", "next_value", "advantage"),
}
_INNER_FLOATS: dict[type, tuple[str, str]] = {
    EpisodeStarted: ("history", "rating"),
    PlanMade: ("reflections", "distance"),
    ActionTaken: ("recalled", "distance"),
    StateValued: ("recalled", "distance"),
}


def check_numbers(message: Message) -> None:
    """Raise ValueError if a number of *message* is not as `number` would give it."""
    kind = type(message)
    for name in _FLOATS.get(kind, ()):
        _check_number(kind, name, getattr(message, name))
    if kind in _INNER_FLOATS:
        name, inner = _INNER_FLOATS[kind]
        for part in getattr(message, name):
            _check_number(kind, f"{name}.{inner}", getattr(part, inner))


def _check_number(kind: type, name: str, value: float) -> None:
    plain = type(value) is float or type(value) is int  # numpy's cannot be encoded
    signed = value == 0 and math.copysign(1.0, value) < 0
    if number(value) != value or signed or not plain:
        what = f"{kind.__name__}.{name}"
        raise ValueError(f"{what} must be rounded to 6 significant digits, got {value!r}")
