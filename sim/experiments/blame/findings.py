"""What is asked of blame, and what it finds."""

import msgspec

from engine.errors import ConfigError
from sim.experiments.blame.ranking import Effect

SHARE = 4
"""All causes are looked at by one draw for so many fresh ones of those that lead."""

FEWEST = 2
"""Draws of which a mean has an interval."""


class Blame(msgspec.Struct, frozen=True, kw_only=True):
    """What an *episode* of a run owes its course to: its causes, what leads first.

    It came to *reward* (R_traj) in *length* steps and ended for a *reason*; before its first step
    *expected* was the mean, None if no draw came to an end. All causes were looked at by *screened*
    draws, the leading ones by *draws* fresh ones, and more where two were near a tie. *spent* says
    that a budget ended it before all were made, *failed* how many plays came to nothing. *calls*,
    *tokens* and *cost* are of the blame alone; replies are kept in *cache*, if that is not empty.
    """

    run: str
    episode: int
    user: int
    agent: str
    model: str
    reward: float
    length: int
    reason: str
    seed: int
    expected: float | None
    causes: tuple[Effect, ...]
    screened: int
    draws: int
    plays: int
    failed: int
    spent: bool
    calls: int
    tokens: int
    cost: float
    cache: str

    @property
    def leading(self) -> tuple[Effect, ...]:
        """The causes that have fresh draws, what is most to blame first."""
        return tuple(one for one in self.causes if one.leading)

    @property
    def tied(self) -> tuple[Effect, ...]:
        """The causes that cannot be told apart from what stands first."""
        return tuple(one for one in self.causes if one.tied)


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is asked: so many fresh *draws* of each of so many *leading* causes, by a *seed*.

    Those that cannot be told apart from the first get up to *ties* times as many. Of the *records*
    so many are looked at, those that were recalled at most steps; all if None.
    """

    draws: int = 16
    leading: int = 5
    ties: int = 4
    records: int | None = None
    seed: int | None = None

    def check(self) -> None:
        """Raise ConfigError for what is too little."""
        if self.draws < FEWEST:
            raise ConfigError(f"expected at least {FEWEST} draws, got {self.draws}")
        if self.leading < 1:
            raise ConfigError(f"expected at least 1 leading cause, got {self.leading}")
        if self.ties < 1:
            raise ConfigError(f"expected ties to get at least 1 times the draws, got {self.ties}")
        if self.records is not None and self.records < 0:
            raise ConfigError(f"expected at least 0 records, got {self.records}")

    @property
    def screened(self) -> int:
        """The draws by which all causes are looked at."""
        return max(FEWEST, self.draws // SHARE)

    def rounds(self) -> list[tuple[int, int]]:
        """Return how many causes get fresh draws at most, and how many draws, in each round."""
        found = [(self.leading, self.draws)]
        whole = self.draws
        while self.leading > 1 and 2 * whole <= self.ties * self.draws:
            found.append((max(2, (found[-1][0] + 1) // 2), whole))
            whole *= 2
        return found


DEFAULT = Asked()
