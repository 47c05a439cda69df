"""What whoever watches a run may do to it: let it pause, stop it, change what it may take.

None of it leaves a mark on the trace: limits in real time decide nothing there.
"""

from dataclasses import dataclass, replace
from math import isfinite
from typing import TypeVar

import msgspec

from agents.models.guards.limiter import Limits
from engine.errors import ConfigError, InterruptedRunError
from sim.runs.stopping import resuming
from sim.runs.watching import Underway

N = TypeVar("N", int, float)


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to hold from now on; what is not told stays, and 0 is no limit.

    *in_flight* calls of each account at once, *requests_per_minute* and *tokens_per_minute*; what
    the run may come to: *max_calls*, *max_tokens_total*, *max_cost*.
    """

    in_flight: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_calls: int | None = None
    max_tokens_total: int | None = None
    max_cost: float | None = None


@dataclass(frozen=True)
class Controls:
    """The controls of a run that is *underway*; to be used in its event loop."""

    underway: Underway

    @property
    def paused(self) -> bool:
        """Whether the run is paused."""
        return any(limiter.paused for limiter in self.underway.chain.limiters.values())

    @property
    def most(self) -> int:
        """How many calls of an account may be in flight at most: as many as at the beginning."""
        return self.underway.config.concurrency

    def pause(self) -> None:
        """Ask no model anything from now on; calls in flight end."""
        for limiter in self.underway.chain.limiters.values():
            limiter.pause()

    def go_on(self) -> None:
        """End the pause."""
        for limiter in self.underway.chain.limiters.values():
            limiter.go_on()

    def stop(self) -> None:
        """Stop the run as Ctrl-C does: all that was done is there, and it can be resumed."""
        path = self.underway.directory.path
        what = f"stopped by who watched it; everything so far is in {path}"
        error = InterruptedRunError(what, hint=f"go on with: {resuming(path)}")
        self.underway.assembly.scheduler.stop(error)

    def change(self, change: Change) -> None:
        """Let other limits hold; raises ConfigError for what they cannot be."""
        self._check(change)
        for limiter in self.underway.chain.limiters.values():
            limiter.change(_limits(limiter.limits, change))
        budget = self.underway.chain.budget
        allowed = budget.allowances
        allowed = replace(
            allowed,
            calls=_told(change.max_calls, allowed.calls),
            tokens=_told(change.max_tokens_total, allowed.tokens),
            cost=_told(change.max_cost, allowed.cost),
        )
        allowed.check({*map(self.underway.config.model_of, self.underway.config.roles)})
        budget.allowances = allowed

    def _check(self, change: Change) -> None:
        for name, value in msgspec.structs.asdict(change).items():
            if value is not None and not (isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be at least 0, got {value!r}")
        if change.in_flight is not None and not 1 <= change.in_flight <= self.most:
            raise ConfigError(
                f"in_flight must be 1 to {self.most}, got {change.in_flight}",
                hint="a run keeps the connections that it began with",
            )


def _limits(limits: Limits, change: Change) -> Limits:
    return replace(
        limits,
        in_flight=limits.in_flight if change.in_flight is None else change.in_flight,
        requests_per_minute=_rate(change.requests_per_minute, limits.requests_per_minute),
        tokens_per_minute=_rate(change.tokens_per_minute, limits.tokens_per_minute),
    )


def _rate(told: float | None, before: float | None) -> float | None:
    return before if told is None else told or None


def _told(told: N | None, before: N) -> N:
    return before if told is None else told
