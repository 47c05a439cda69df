"""Who arrives when, in virtual time.

`all`: everybody at 0, so that nobody learns from anybody. `batches:N`: the next N arrive one
millisecond after the last batch's largest end plus the publication delay (the protocol of arXiv
2403.00843, N = 10). `poisson:RATE`: RATE arrivals a second, independent of each other.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Protocol, Self, TypeAlias

from engine.chance import Stream
from engine.errors import ConfigError
from engine.messages import EpisodeEnded, EpisodeStarted, Phase


@dataclass(frozen=True, slots=True, order=True)
class Visit:
    """A user's visit; ordered by (arrival in milliseconds, user, session).

    *phase* and *teaching* are as in `EpisodeStarted`.
    """

    arrival: int
    user: int
    session: int
    phase: Phase = field(default="train", compare=False)
    teaching: bool = field(default=True, compare=False)

    @classmethod
    def of(cls, started: EpisodeStarted) -> Self:
        """Return the visit of an episode that *started* so."""
        arrival, user, session = started.arrival, started.user, started.session
        return cls(arrival, user, session, started.phase, started.teaching)


class Arrivals(Protocol):
    """Knows the next visit as soon as it is certain."""

    def upcoming(self) -> Visit | None:
        """Return the next visit, or None while it is unknown or when there is none."""
        ...

    def started(self) -> None:
        """Take note that the upcoming visit started."""
        ...

    def closed(self, end: int) -> None:
        """Take note that an episode was closed; *end* is the largest time in it."""
        ...

    def exhausted(self) -> bool:
        """Tell whether no visit will come any more."""
        ...


@dataclass(eq=False)
class Listed:
    """Visits whose times are known beforehand."""

    visits: deque[Visit]

    def upcoming(self) -> Visit | None:
        """Return the next visit."""
        return self.visits[0] if self.visits else None

    def started(self) -> None:
        """Go on to the next visit."""
        self.visits.popleft()

    def closed(self, end: int) -> None:
        """Change nothing: the times are fixed."""

    def exhausted(self) -> bool:
        """Tell whether all visits have started."""
        return not self.visits


@dataclass(eq=False)
class Batches:
    """Visits in batches, each after all of the last one has ended."""

    visitors: deque[tuple[int, int]]
    size: int
    delay: int
    part: "Part"
    begin: int = 0
    _batch: deque[Visit] = field(default_factory=deque)
    _open: int = 0
    _latest: int | None = None

    def upcoming(self) -> Visit | None:
        """Return the next visit of the batch; None until the last batch has ended."""
        if not self._batch and self._open == 0:
            self._gather()
        return self._batch[0] if self._batch else None

    def _gather(self) -> None:
        # One more than the delay: a record is visible strictly after it.
        arrival = self.begin if self._latest is None else self._latest + self.delay + 1
        count = min(self.size, len(self.visitors))
        visitors = [self.visitors.popleft() for _ in range(count)]
        # All arrive at once, so users' numbers decide, as among all equal arrivals.
        self._batch.extend(sorted(self.part.visit(arrival, *visitor) for visitor in visitors))

    def started(self) -> None:
        """Go on to the next visit."""
        self._batch.popleft()
        self._open += 1

    def closed(self, end: int) -> None:
        """Count down the batch."""
        self._open -= 1
        self._latest = max(end, self._latest or 0)

    def exhausted(self) -> bool:
        """Tell whether all visits have started."""
        return not self._batch and not self.visitors


Retention: TypeAlias = Callable[[EpisodeEnded], tuple[float, float]]
"""Of a visit: how likely its user comes back, and how many times the mean gap is as long."""


def always(_: EpisodeEnded) -> tuple[float, float]:
    """Tell that everybody comes back, after the usual gap."""
    return 1.0, 1.0


@dataclass(frozen=True)
class Returns:
    """How users come back: up to *sessions* visits each, at least *least* ms after the last end."""

    sessions: int
    least: int
    mean: int
    retention: Retention = always

    def gap(self, stream: Stream, ended: EpisodeEnded | None = None) -> int | None:
        """Return a gap in milliseconds, None for a user who stays away after what *ended*.

        The least gap plus an exponential of the given mean.
        """
        likely, longer = (1.0, 1.0) if ended is None else self.retention(ended)
        gap = self.least + exponential(stream, round(self.mean * longer))
        return gap if likely >= 1 or stream.fraction() < likely else None


ONCE = Returns(sessions=1, least=0, mean=0)
"""Nobody comes back."""


def exponential(stream: Stream, mean: int) -> int:
    """Return an exponentially distributed whole number; exact, so the same on every processor."""
    fraction = Decimal(stream.word() + 1) / (1 << 64)
    # Decimal's logarithm is correctly rounded; that of the C library differs between systems.
    return int(-fraction.ln(Context(prec=20)) * mean)


@dataclass(frozen=True)
class Part:
    """A part of a run: *visitors*, (user, session) in order, and how they arrive by *rule*.

    *rule* is `all`, `batches:N` or `poisson:RATE`; *phase* and *teaching* are those of its visits.
    """

    rule: str
    visitors: Sequence[tuple[int, int]]
    phase: Phase = "train"
    teaching: bool = True

    def visit(self, arrival: int, user: int, session: int) -> Visit:
        """Return a visit of this part."""
        return Visit(arrival, user, session, self.phase, self.teaching)

    def arrivals(self, *, begin: int, delay: int, stream: Stream) -> Arrivals:
        """Return the arrivals, the first of them not before *begin*.

        *begin* and the publication *delay* are in milliseconds. Raises ConfigError for a rule that
        is none.
        """
        name, _, argument = plain_rule(self.rule).partition(":")
        if name == "all":
            return self._listed([begin] * len(self.visitors))
        if name == "batches":
            return Batches(deque(self.visitors), int(argument), delay, self, begin)
        return self._listed(self._poisson(begin, float(argument), stream))

    def _listed(self, times: Iterable[int]) -> Arrivals:
        pairs = zip(times, self.visitors, strict=True)
        return Listed(deque(sorted(self.visit(time, *visitor) for time, visitor in pairs)))

    def _poisson(self, begin: int, rate: float, stream: Stream) -> Iterator[int]:
        """Yield the times of a Poisson process with *rate* visits a second."""
        mean = int(1_000_000 / rate)
        # Gaps cut to milliseconds one by one would add up to too high a rate.
        microseconds = 1000 * begin
        for _ in self.visitors:
            microseconds += exponential(stream, mean)
            yield microseconds // 1000


@dataclass(eq=False)
class InParts:
    """Visits part after part: each begins when all of the last one has ended, and can be known."""

    parts: deque[Part]
    delay: int
    stream: Stream
    _part: Arrivals = field(default_factory=lambda: Listed(deque()))
    _open: int = 0
    _latest: int = -1

    def __post_init__(self) -> None:
        self._begin(0)

    def _begin(self, begin: int) -> None:
        part = self.parts.popleft()
        self._part = part.arrivals(begin=begin, delay=self.delay, stream=self.stream)

    def upcoming(self) -> Visit | None:
        """Return the next visit of the part; None until the last part has ended."""
        while self._part.exhausted() and not self._open and self.parts:
            self._begin(self._latest + self.delay + 1)
        return self._part.upcoming()

    def started(self) -> None:
        """Go on to the next visit."""
        self._open += 1
        self._part.started()

    def closed(self, end: int) -> None:
        """Take note of the end of an episode."""
        self._open -= 1
        self._latest = max(end, self._latest)
        self._part.closed(end)

    def exhausted(self) -> bool:
        """Tell whether all visits have started."""
        return self._part.exhausted() and not self.parts


def arrivals(parts: Sequence[Part], *, delay: int, stream: Stream) -> Arrivals:
    """Return the arrivals of *parts*, one after the other; *delay* is in milliseconds.

    Raises ConfigError for a rule that is none.
    """
    if len(parts) == 1:
        return parts[0].arrivals(begin=0, delay=delay, stream=stream)
    for part in parts:
        plain_rule(part.rule)
    return InParts(deque(parts), delay, stream)


def plain_rule(rule: str) -> str:
    """Return the one spelling of a *rule*; raises ConfigError for one that is none."""
    name, _, argument = rule.partition(":")
    try:
        if name == "all" and not argument:
            return name
        if name == "batches" and int(argument) >= 1:
            return f"{name}:{int(argument)}"
        if name == "poisson" and 1e-6 <= float(argument) <= 1e6:
            return f"{name}:{float(argument)!r}".removesuffix(".0")
    except ValueError as error:
        raise _unknown(rule) from error
    raise _unknown(rule)


def _unknown(rule: str) -> ConfigError:
    hint = "use all, batches:N (N users at a time) or poisson:RATE (arrivals a second)"
    return ConfigError(f"arrivals cannot be {rule!r}", hint=hint)
