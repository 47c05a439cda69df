"""Who arrives when, in virtual time.

`all`: everybody at 0, so that nobody learns from anybody. `batches:N`: the next N arrive one
millisecond after the last batch's largest end plus the publication delay (the protocol of arXiv
2403.00843, N = 10). `poisson:RATE`: RATE arrivals a second, independent of each other.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Protocol

from engine.chance import Stream
from engine.errors import ConfigError


@dataclass(frozen=True, slots=True, order=True)
class Visit:
    """A user's visit; ordered by (arrival in milliseconds, user, session)."""

    arrival: int
    user: int
    session: int


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
    _batch: deque[Visit] = field(default_factory=deque)
    _open: int = 0
    _latest: int | None = None

    def upcoming(self) -> Visit | None:
        """Return the next visit of the batch; None until the last batch has ended."""
        if not self._batch and self._open == 0:
            self._gather()
        return self._batch[0] if self._batch else None

    def _gather(self) -> None:
        arrival = 0 if self._latest is None else self._latest + self.delay + 1
        count = min(self.size, len(self.visitors))
        visitors = [self.visitors.popleft() for _ in range(count)]
        self._batch.extend(sorted(Visit(arrival, user, session) for user, session in visitors))

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


@dataclass(frozen=True)
class Returns:
    """How users come back: up to *sessions* visits each, at least *least* ms after the last end."""

    sessions: int
    least: int
    mean: int

    def gap(self, stream: Stream) -> int:
        """Return a gap in milliseconds: the least one plus an exponential of the given mean."""
        return self.least + exponential(stream, self.mean)


ONCE = Returns(sessions=1, least=0, mean=0)
"""Nobody comes back."""


def exponential(stream: Stream, mean: int) -> int:
    """Return an exponentially distributed whole number; exact, so the same on every processor."""
    fraction = Decimal(stream.word() + 1) / (1 << 64)
    # Decimal's logarithm is correctly rounded; that of the C library differs between systems.
    return int(-fraction.ln(Context(prec=20)) * mean)


def all_at_once(visitors: Sequence[tuple[int, int]]) -> Arrivals:
    """Return arrivals of everybody at 0."""
    return Listed(deque(sorted(Visit(0, user, session) for user, session in visitors)))


def batches(visitors: Sequence[tuple[int, int]], size: int, delay: int) -> Arrivals:
    """Return arrivals in batches of *size*."""
    return Batches(deque(visitors), size, delay)


def poisson(visitors: Sequence[tuple[int, int]], rate: float, stream: Stream) -> Arrivals:
    """Return arrivals of a Poisson process with *rate* visits a second."""
    mean = int(1_000_000 / rate)
    visits: deque[Visit] = deque()
    microseconds = 0
    for user, session in visitors:
        microseconds += exponential(stream, mean)
        visits.append(Visit(microseconds // 1000, user, session))
    return Listed(deque(sorted(visits)))


def arrivals(
    rule: str, visitors: Sequence[tuple[int, int]], *, delay: int, stream: Stream
) -> Arrivals:
    """Return the arrivals that *rule* describes: `all`, `batches:N` or `poisson:RATE`.

    *visitors* are (user, session) in order; *delay* is the publication delay in milliseconds.
    Raises ConfigError for a rule that is none of these.
    """
    name, _, argument = rule.partition(":")
    try:
        if name == "all" and not argument:
            return all_at_once(visitors)
        if name == "batches" and int(argument) >= 1:
            return batches(visitors, int(argument), delay)
        if name == "poisson" and 1e-6 <= float(argument) <= 1e6:
            return poisson(visitors, float(argument), stream)
    except ValueError as error:
        raise _unknown(rule) from error
    raise _unknown(rule)


def _unknown(rule: str) -> ConfigError:
    hint = "use all, batches:N (N users at a time) or poisson:RATE (arrivals a second)"
    return ConfigError(f"arrivals cannot be {rule!r}", hint=hint)
