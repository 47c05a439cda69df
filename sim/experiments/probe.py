"""Probing a model: the same calls again and again, beside few others and beside many."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import anyio
import msgspec

from agents.models.chain import Chain, ModelSettings, linked, open_models
from agents.models.guards.retrying import Attempt
from agents.models.model import ChatMessage, ChatModel, ChatRequest, Sampling, call_seed
from agents.models.providers import LOCAL, Door, plain_name, provider_of
from engine.calls import Call
from engine.errors import CallFailedError
from sim.metrics.certificate import Certificate, Difference, Pass, first_difference

_TASTES = ("heist films", "slow dramas", "silent comedies", "space operas", "westerns")
_SEEN = 20  # films of a prompt, some 350 tokens: what is short is rounded alike where long is not
_SYSTEM = "You recommend films, one at a time, and say in a sentence why."


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked: so many *calls*, by a *role* whose model is that of *settings*.

    *levels* are how many are in flight at once, one after the other.
    """

    role: str
    settings: ModelSettings
    calls: int = 16
    levels: tuple[int, ...] = (1, 4, 16, 64)
    temperature: float = 0.5
    max_tokens: int = 64

    @property
    def model(self) -> str:
        """The plain name of the model that is asked."""
        return plain_name(self.settings.roles[self.role].model)

    def requests(self) -> list[ChatRequest]:
        """Return the calls: each with words and a seed of its own, and a beginning that all share.

        They are as long as those of a run. What a service remembers of one prompt it may use for
        the next: so that is tried as well.
        """
        sampling = Sampling(
            model=self.model, temperature=self.temperature, max_tokens=self.max_tokens
        )
        return [self._request(number, sampling) for number in range(self.calls)]

    def _request(self, number: int, sampling: Sampling) -> ChatRequest:
        call = Call(episode=0, user=number, session=0, step=0, role=self.role, occurrence=0)
        liked = ", ".join(_TASTES[: 1 + number % len(_TASTES)])
        text = f"User {number} likes {liked}, and saw:\n{_seen(number)}\nWhich film is next?"
        return ChatRequest(
            call=call,
            sampling=sampling,
            messages=(
                ChatMessage(role="system", content=_SYSTEM),
                ChatMessage(role="user", content=text),
            ),
            seed=call_seed(0, call),
        )


def _seen(number: int) -> str:
    films = range(number, number + _SEEN)
    return "\n".join(f"- Film {film} ({1950 + film}), drama, {1 + film % 5} of 5" for film in films)


async def probe(asked: Asked, note: Callable[[str], None]) -> Certificate:
    """Ask at every level, cold and warm, and return what was found; *note* is told how it goes.

    For each level the model is opened anew, as a run of that concurrency would. Raises ConfigError
    or ServiceError if it cannot be asked.
    """
    first: list[str | None] = []
    passes: list[Pass] = []
    for level in asked.levels:
        settings = replace(asked.settings, limits=replace(asked.settings.limits, in_flight=level))
        async with open_models(settings) as doors:
            with linked(doors, settings, _unseen) as chain:
                for cold in (True, False):
                    note(f"{level} in flight, {'cold' if cold else 'warm'}")
                    texts, seconds = await _asked(chain, asked.requests(), level, cold=cold)
                    first = first or texts
                    passes.append(_pass(first, texts, chain, level, cold=cold, seconds=seconds))
            door = doors[asked.role]
    return _certificate(asked, door, passes)


def _unseen(_: Attempt) -> None:
    """Observe no attempt."""


async def _asked(
    model: ChatModel, requests: Sequence[ChatRequest], in_flight: int, *, cold: bool
) -> tuple[list[str | None], float]:
    """Return the texts of all replies, in the order of *requests*, and the seconds that it took.

    Once it is warm, the last is asked first: others are beside each call then.
    """
    texts: list[str | None] = [None] * len(requests)
    slots = anyio.CapacityLimiter(in_flight)

    async def ask(place: int) -> None:
        async with slots:
            texts[place] = await _text(model, requests[place])

    began = time.perf_counter()
    places = range(len(requests)) if cold else reversed(range(len(requests)))
    async with anyio.create_task_group() as group:
        for place in places:
            group.start_soon(ask, place)
    return texts, time.perf_counter() - began


async def _text(model: ChatModel, request: ChatRequest) -> str | None:
    try:
        return (await model.reply(request)).text
    except CallFailedError:
        return None


def _pass(
    first: Sequence[str | None],
    texts: Sequence[str | None],
    chain: Chain,
    level: int,
    *,
    cold: bool,
    seconds: float,
) -> Pass:
    pairs = list(zip(first, texts, strict=True))
    return Pass(
        in_flight=level,
        at_once=min(level, chain.statistics().ceiling),
        cold=cold,
        agree=sum(one is not None and one == other for one, other in pairs),
        failed=sum(text is None for text in texts),
        seconds=round(seconds, 3),
        differs=min(
            (
                Difference(call=call, word=first_difference(one, other))
                for call, (one, other) in enumerate(pairs)
                if one is not None and other is not None and one != other
            ),
            key=lambda found: (found.word, found.call),
            default=None,
        ),
    )


def _certificate(asked: Asked, door: Door, passes: Sequence[Pass]) -> Certificate:
    model = asked.settings.roles[asked.role]
    here = provider_of(model.model) == LOCAL
    local = msgspec.structs.asdict(model.way.local)
    return Certificate(
        model=asked.model,
        place="this machine" if here else door.place,
        calls=asked.calls,
        temperature=asked.temperature,
        max_tokens=asked.max_tokens,
        passes=tuple(passes),
        digests=dict(door.digests),
        settings={name: local[name] for name in local if name != "digests"} if here else {},
    )
