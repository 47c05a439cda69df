"""The embedded model: rules over a request's text. It is a stand-in, *not* a language model.

It makes the whole system run without a key or a network, and it sees what a remote model would see,
the messages of the request and its seed. In process it is also told who asks; where a service is
asked, the opening of the task tells. What it achieves says nothing about what language models
achieve.

- planner: weighs categories by the user's taste, if it is told, else by past rewards, and by what
  the reflections say was liked or not; if a reflection says to vary, it warns of the categories
  shown lately;
- actor: takes the candidate that others rated best, by the user's taste, how it surprised, the
  thought, and what was encouraged and discouraged;
- critic: scores the variety of the last items and their rewards, and leans on the remembered value;
- reflector: tells from the last steps whether likeness or a low reward made the user leave.
"""

import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import sqrt

import msgspec

from agents.models.model import ChatReply, ChatRequest
from agents.models.providers import Door, Opening, Provider
from agents.prompts import SEPARATOR, TASTE, TOKEN, role_of, sections
from engine.chance import Stream
from engine.errors import CallFailedError

_RECENT = 4
_LOW = 2.0
_MIDDLE = 3.0
_DOUBT = 4
_WISH = 0.3
_REWARD = re.compile(r"-?\d{1,9}\.\d\d")
_RATED = re.compile(r"rated (-?\d{1,9}\.\d\d) by \d{1,12}")
_SURPRISE = re.compile(r"surprise ([+-]\d{1,9}\.\d\d) in (\d{1,12})")
_LIKING = re.compile(r"[+-]\d{1,9}\.\d\d")
_VALUE = re.compile(r"-?\d{1,9}(\.\d{1,9})?(e[+-]\d\d)?")
_LIKED = "liked: "
_NOT_LIKED = "not welcome: "
_LONGEST = 2**18  # characters of a prompt; so that whatever it says, its reply takes no long time
_REMEMBERED = 8_192  # lines: eight times as many would be met again hardly more often
_USUAL = 200  # characters of a line that are remembered: those of strangers may be very long

_encode = json.JSONEncoder(ensure_ascii=False).encode

_NO_RULE = "The embedded model knows the four roles of BiLLP only; it is not a language model."

Sections = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class _Line:
    title: str
    categories: tuple[str, ...]
    reward: float | None
    rated: float = _MIDDLE
    surprise: float = 0.0

    @property
    def content(self) -> float:
        """The reward, or the middle where there is none."""
        return _MIDDLE if self.reward is None else self.reward

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The categories, to compare."""
        return frozenset(self.categories)


class EmbeddedModel:
    """Replies by rule; the same request always gets the same reply."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Return the reply; never waits. Raises CallFailedError for what it cannot follow."""
        system, text = request.messages[0].content, request.messages[-1].content
        if len(system) + len(text) > _LONGEST:
            raise CallFailedError(
                f"the prompt is longer than the maximum context length, {_LONGEST:,} characters",
                kind="too_long",
            )
        rule = _RULES.get(request.call.role) or _RULES.get(role_of(system))
        said = _NO_RULE
        if rule is not None:
            said = rule(sections(text), Stream(request.seed.to_bytes(8, "big")))
        if request.schema:
            said = _structured(said, request.schema, known=rule is not None)
        tokens = (len(system) + len(text)) // TOKEN
        return ChatReply(text=said, prompt_tokens=tokens, completion_tokens=len(said) // TOKEN + 1)


def _structured(said: str, schema: str, *, known: bool) -> str:
    """Return what is *said* as the JSON object that *schema* asks for.

    Who asks for what is not *known* gets the first that the schema names.
    """
    value = said.removeprefix("recommend[").removesuffix("]") if said.startswith("rec") else said
    try:
        ((field, asked),) = msgspec.json.decode(schema)["properties"].items()
        if "enum" in asked and not known:
            return _encode({field: asked["enum"][0]})
        answer = {field: int(value) if asked.get("type") == "integer" else value}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CallFailedError(
            "the embedded model follows no schema but those of its roles, of one field",
            kind="schema",
        ) from error
    return _encode(answer)


# -- reading a prompt


def _read(lines: Iterable[str]) -> list[_Line]:
    return [
        _usual(line) if len(line) <= _USUAL else _line(line)
        for line in lines
        if line.startswith("- ")
    ]


@lru_cache(_REMEMBERED)
def _usual(line: str) -> _Line:
    return _line(line)


def _line(line: str) -> _Line:
    # From the right: a title may contain the separator.
    parts = line[2:].split(SEPARATOR)
    found = _SURPRISE.fullmatch(parts[-1]) if len(parts) > 2 else None
    surprise, times = (float(found[1]), int(found[2])) if found else (0.0, 0)
    parts = parts[:-1] if found else parts
    found = _RATED.fullmatch(parts[-1]) if len(parts) > 2 else None
    rated = float(found[1]) if found else _MIDDLE
    parts = parts[:-1] if found else parts
    reward = float(parts.pop()) if len(parts) > 2 and _REWARD.fullmatch(parts[-1]) else None
    names = parts.pop() if len(parts) > 1 else ""
    categories = tuple(names.split(", ")) if names else ()
    # A few surprises may be chance: they count as with as many that were none.
    lasting = surprise * times / (times + _DOUBT)
    return _Line(SEPARATOR.join(parts), categories, reward, rated, lasting)


def _worth(lines: Iterable[_Line]) -> dict[str, float]:
    """Return how much each category was liked: the sum of its rewards above the middle."""
    worth: dict[str, float] = defaultdict(float)
    for line in lines:
        for name in line.categories:
            worth[name] += line.content - _MIDDLE
    return worth


def _liking(text: Sections) -> dict[str, float]:
    """Return how much better than others the user likes categories, as far as a prompt tells."""
    found: dict[str, float] = defaultdict(float)
    for line in text.get(TASTE, ()):
        name, liked = _usual_liked(line) if len(line) <= _USUAL else _liked(line)
        if liked is not None:
            found[name] = liked
    return found


@lru_cache(_REMEMBERED)
def _usual_liked(line: str) -> tuple[str, float | None]:
    return _liked(line)


def _liked(line: str) -> tuple[str, float | None]:
    name, _, liked = line.removeprefix("- ").rpartition(SEPARATOR)
    return name, float(liked) if _LIKING.fullmatch(liked) else None


def _usual_liking(text: Sections) -> dict[str, float]:
    """Return a guess at the same by the user's history alone."""
    worth = _worth(_read(text.get("History of the user", ())))
    return {name: 0.3 * value for name, value in worth.items()}


def _names(opening: str, text: str) -> list[str]:
    """Return the names that follow *opening* up to a full stop, wherever in *text* they do."""
    # No regular expression: one would look for the stop again from each of many openings.
    found = [sentence.partition(opening)[2] for sentence in text.split(".")[:-1]]
    return [name for names in found for name in names.split(", ") if name]


def _best(worth: Mapping[str, float], count: int) -> list[str]:
    order = sorted(worth, key=lambda name: (-worth[name], name))
    return order[:count]


# -- the four rules


def _plan(text: Sections, stream: Stream) -> str:
    steps = _read(text.get("Steps so far", ()))
    worth = _liking(text) or _worth([*_read(text.get("History of the user", ())), *steps])
    lessons = " ".join(text.get("Reflections from earlier visits", ()))
    for name in _names(_LIKED, lessons):
        worth[name] += 1.0
    for name in _names(_NOT_LIKED, lessons):
        worth[name] -= 1.0
    varied = "vary" in lessons.casefold()
    unwanted = {name for name in worth if worth[name] < -_MIDDLE}
    if varied:
        unwanted |= {name for step in steps[-_RECENT:] for name in step.categories}
    avoid = sorted(unwanted)
    open_to = {name: value for name, value in worth.items() if name not in unwanted and value >= 0}
    wanted = stream.shuffled(_best(open_to, 4))[:2]
    where = f"take from {' or '.join(wanted)}" if wanted else "take what was never tried"
    opening = "Vary: nothing like the last items; " if varied else ""
    thought = f"{opening}{where}; avoid {', '.join(avoid)}." if avoid else f"{opening}{where}."
    return thought[0].upper() + thought[1:]


def _act(text: Sections, stream: Stream) -> str:
    candidates = _read(text.get("Candidates", ()))
    encouraged = _read(text.get("Encouraged in like states", ()))
    discouraged = _read(text.get("Discouraged in like states", ()))
    recent = _read(text.get("Recent recommendations", ()))[-_RECENT:]
    thought = " ".join(text.get("Thought", ()))
    wish, _, warning = thought.partition("avoid")
    varied = thought.startswith("Vary")
    liking = _liking(text) or _usual_liking(text)
    worked = {line.title: 1 - place / 10 for place, line in enumerate(encouraged)}
    failed = {line.title for line in discouraged}

    def fit(line: _Line) -> float:
        known, wished, warned = 0.0, 0, 0
        for name in line.categories:
            known += liking.get(name, 0.0)
            wished += name in wish
            warned += name in warning
        # All in rewards: what others gave, how much more this user should, what the item surprised.
        score = line.rated + known / sqrt(max(1, len(line.categories))) + line.surprise
        score += _WISH * wished
        score -= _WISH * warned
        score += worked.get(line.title, 0.0) - (line.title in failed)
        if varied:
            score -= 10.0 * sum(_alike(line, other) for other in recent)
        return score

    # Before the best is taken: so of equal ones the seed decides.
    options = stream.shuffled([*candidates, *encouraged])
    if not options:
        return "recommend[anything]"
    return f"recommend[{max(options, key=fit).title}]"


def _alike(one: _Line, other: _Line) -> float:
    """Return the Jaccard likeness of two items' categories; of two items without any it is 1."""
    shared = len(one.kinds & other.kinds)
    both = len(one.kinds) + len(other.kinds) - shared
    return shared / both if both else 1.0


def _judge(text: Sections, stream: Stream) -> str:
    recent = _read(text.get("Recent recommendations", ()))[-_RECENT:]
    value = 5.0
    if recent:
        # With γ = 0.5 a content user who stays is worth about 7, cut to 5: sameness and low
        # rewards are what makes it less.
        names = [name for line in recent for name in line.categories]
        variety = len(set(names)) / len(names) if names else 0.5
        content = sum(line.content for line in recent) / len(recent)
        value = 5 - 6 * (1 - variety) - 2 * max(0.0, 3.5 - content)
    for line in text.get("Values of like states", ()):
        remembered = line.rsplit(" ", 1)[-1]
        if _VALUE.fullmatch(remembered):
            value = (value + float(remembered)) / 2
    return str(max(-5, min(5, round(value))))


def _reflect(text: Sections, stream: Stream) -> str:
    steps = _read(text.get("Steps of the visit", ()))
    left = "the user left" in " ".join(text.get("End of the visit", ()))
    why = _why_left(steps) if left and steps else "The user stayed: vary the categories as here."
    worth = _worth(steps)
    liked = [name for name in _best(worth, 3) if worth[name] > 0]
    unliked = [name for name in _best({n: -v for n, v in worth.items()}, 2) if worth[name] < 0]
    lesson = f" Well liked: {', '.join(liked)}." if liked else ""
    return why + lesson + (f" Of these, not welcome: {', '.join(unliked)}." if unliked else "")


def _why_left(steps: Sequence[_Line]) -> str:
    last, earlier = steps[-1], steps[-1 - _RECENT : -1]
    if last.reward is not None and last.reward < _LOW:
        why = f"The user left because {last.title} did not fit: reward {last.reward:.2f}."
        varied = len(earlier) == _RECENT and sum(_alike(last, other) for other in earlier) < 1
        return f"{why} Before that it helped to vary the categories." if varied else why
    if not earlier:
        return f"The user left at once, at {last.title}."
    near = max(earlier, key=lambda line: len(line.kinds & last.kinds))
    return (
        f"The user left because {last.title} was too much like {near.title}. "
        "Next time vary the categories from step to step."
    )


_RULES: Mapping[str, Callable[[Sections, Stream], str]] = {
    "planner": _plan,
    "actor": _act,
    "critic": _judge,
    "reflector": _reflect,
}


@asynccontextmanager
async def _embedded(_: Opening) -> AsyncIterator[Door]:
    yield Door(EmbeddedModel())


PROVIDER = Provider(_embedded, choosing=False)
