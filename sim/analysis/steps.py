"""An episode step by step: of each step all that was said and done, in the order of cause."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec

from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    HandlerFailed,
    MemoryWritten,
    Message,
    ModelFailed,
    ModelReplied,
    PlanMade,
    PlanRequested,
    ReflectionWritten,
    StateValued,
    UserResponded,
)

Kind: TypeAlias = Literal[
    "started",
    "waited",
    "thought",
    "action",
    "response",
    "value",
    "advantage",
    "call",
    "ended",
    "reflection",
    "settled",
    "memory",
    "failure",
]

_KINDS: Mapping[type[Message], Kind] = {
    EpisodeStarted: "started",
    PlanRequested: "waited",
    PlanMade: "thought",
    ActionTaken: "action",
    UserResponded: "response",
    StateValued: "value",
    AdvantageEstimated: "advantage",
    ModelReplied: "call",
    ModelFailed: "call",
    EpisodeEnded: "ended",
    ReflectionWritten: "reflection",
    EpisodeSettled: "settled",
    MemoryWritten: "memory",
    HandlerFailed: "failure",
    EpisodeFailed: "failure",
}
_ORDER = tuple(dict.fromkeys(_KINDS.values()))
_OF_THE_END = frozenset({"ended", "reflection", "settled", "memory", "failure"})


class Memo(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was recalled, and what it *says*; None where nobody knows.

    *memory* is empty if the agent that could tell which it was is not here.
    """

    memory: str
    position: int
    episode: int
    distance: float
    says: str | None


Recalls: TypeAlias = Callable[[Message], tuple[Memo, ...]]
"""Returns what was recalled before a message was made."""


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a model: its envelope *n*, who asked, and the reply (*text*) or the *error*."""

    n: int
    role: str
    step: int
    occurrence: int
    request: str
    text: str
    error: str = ""
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A message with its place, what was *recalled* for it and which *calls* led to it."""

    n: int
    cause: int | None
    time: int
    kind: Kind
    message: Message
    recalled: tuple[Memo, ...] = ()
    calls: tuple[Asking, ...] = ()


class StepTold(msgspec.Struct, frozen=True, kw_only=True):
    """A step in a few numbers, and its *cards*.

    *value* is that of the state before it, *after* that of the one it led to; None where nobody
    said. *categories* are the item's, as far as they are known.
    """

    step: int
    item: int | None
    title: str
    categories: tuple[str, ...]
    reward: float | None
    value: float | None
    after: float | None
    advantage: float | None
    left: bool
    reason: str
    cards: tuple[Card, ...]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An episode: how it *opened*, its *steps*, and what came after the last of them.

    *places* says for each envelope in which step it stands: None for the beginning, −1 for what
    came after the steps.
    """

    opened: Card
    steps: tuple[StepTold, ...]
    closing: tuple[Card, ...]
    places: dict[int, int | None]


AFTER = -1
"""Where in `Told.places` stands what came after the last step."""


def told(
    envelopes: Sequence[Envelope[Message]],
    recalls: Recalls,
    categories: Callable[[int], tuple[str, ...]],
) -> Told:
    """Return an episode step by step; *envelopes* begin with its EpisodeStarted."""
    return _Teller(envelopes, recalls, categories).told()


@dataclass(eq=False)
class _Teller:
    envelopes: Sequence[Envelope[Message]]
    recalls: Recalls
    categories: Callable[[int], tuple[str, ...]]
    places: dict[int, int | None] = field(default_factory=dict)

    def told(self) -> Told:
        """Tell."""
        cards = [*self._cards()]
        by_step: dict[int | None, list[Card]] = {}
        for card in cards:
            by_step.setdefault(self.places[card.n], []).append(card)
        steps = sorted(step for step in by_step if step is not None and step >= 0)
        return Told(
            opened=cards[0],
            steps=tuple(self._step(step, by_step[step], cards) for step in steps),
            closing=tuple(by_step.get(AFTER, ())),
            places=self.places,
        )

    def _cards(self) -> Iterator[Card]:
        """Yield a card for each message, with the calls that led to it: those of the same cause."""
        waiting: dict[int | None, list[Envelope[Message]]] = {}
        for envelope in self.envelopes:
            self.places[envelope.n] = self._place(envelope)
            if _KINDS[type(envelope.message)] == "call":
                waiting.setdefault(envelope.cause, []).append(envelope)
            else:
                calls = waiting.pop(envelope.cause, [])
                self.places |= {call.n: self.places[envelope.n] for call in calls}
                yield self._card(envelope, calls)
        for calls in waiting.values():  # nothing came of them
            for call in calls:
                yield self._card(call, [call])

    def _card(self, envelope: Envelope[Message], calls: Sequence[Envelope[Message]]) -> Card:
        return Card(
            n=envelope.n,
            cause=envelope.cause,
            time=envelope.time,
            kind=_KINDS[type(envelope.message)],
            message=envelope.message,
            recalled=self.recalls(envelope.message),
            calls=tuple(map(_asking, calls)),
        )

    def _place(self, envelope: Envelope[Message]) -> int | None:
        message = envelope.message
        if isinstance(message, EpisodeStarted):
            return None
        if _KINDS[type(message)] in _OF_THE_END:
            return AFTER
        if isinstance(message, StateValued):  # the value of state n + 1 follows from step n
            return max(0, message.state - 1)
        above = self.places.get(envelope.cause) if envelope.cause is not None else None
        own: int = getattr(message, "step", 0)
        # A call may count in states, or speak of the whole: what it followed from says where it is.
        follows = isinstance(message, ModelReplied | ModelFailed) and above is not None
        return above if follows else own

    def _step(self, step: int, cards: list[Card], every: list[Card]) -> StepTold:
        found = {type(card.message): card.message for card in cards}
        action, response = found.get(ActionTaken), found.get(UserResponded)
        gain = found.get(AdvantageEstimated)
        values = {
            c.message.state: c.message.value for c in every if isinstance(c.message, StateValued)
        }
        item = action.item if isinstance(action, ActionTaken) else None
        answered = response if isinstance(response, UserResponded) else None
        return StepTold(
            step=step,
            item=item,
            title=action.title if isinstance(action, ActionTaken) else "",
            categories=() if item is None else self.categories(item),
            reward=answered.reward if answered else None,
            value=values.get(step),
            after=values.get(step + 1),
            advantage=gain.advantage if isinstance(gain, AdvantageEstimated) else None,
            left=answered.left if answered else False,
            reason=(answered.reason or "") if answered else "",
            cards=tuple(sorted(cards, key=_cause_order)),
        )


def _cause_order(card: Card) -> tuple[int, int]:
    """Return where a card stands within its step: critics are heard late, and speak of before."""
    message = card.message
    if isinstance(message, StateValued) and message.state == 0:
        return -1, card.n
    return _ORDER.index(card.kind), card.n


def asked_in(envelopes: Sequence[Envelope[Message]]) -> list[Asking]:
    """Return all calls among *envelopes*."""
    return [
        _asking(one) for one in envelopes if isinstance(one.message, ModelReplied | ModelFailed)
    ]


def _asking(envelope: Envelope[Message]) -> Asking:
    message = envelope.message
    if isinstance(message, ModelReplied):
        return Asking(
            n=envelope.n,
            role=message.role,
            step=message.step,
            occurrence=message.occurrence,
            request=message.request,
            text=message.text,
            finish=message.finish,
            prompt_tokens=message.prompt_tokens,
            completion_tokens=message.completion_tokens,
        )
    if not isinstance(message, ModelFailed):
        raise TypeError(f"expected a call, got {message!r}")
    return Asking(
        n=envelope.n,
        role=message.role,
        step=message.step,
        occurrence=message.occurrence,
        request=message.request,
        text="",
        error=message.error,
    )
