"""The plays of an episode, draw after draw, as far as a budget goes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio

from engine.chance import chance
from engine.errors import BudgetError
from sim.experiments.blame.replays import NEVER, Arm, Outcome, Replayer
from sim.runs.loop import first_error

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many plays are done, and how many there are to be."""


def seed_of(seed: int, episode: int, draw: int) -> int:
    """Return the seed of a draw: 48 bits; the same for all arms, no two draws share theirs."""
    return chance(seed, episode, 0, 0, f"blame {draw}").integer(1 << 48)


@dataclass(eq=False)
class Plays:
    """Makes plays, draw after draw, until all are made or a budget is *spent*."""

    player: Replayer
    episode: int
    seed: int
    reward: float
    progress: Progress
    room: int
    outcomes: dict[tuple[Arm, int], Outcome] = field(default_factory=dict)
    done: int = 0
    drawn: int = 0
    spent: bool = False

    @property
    def calls(self) -> int:
        """The calls that were made for them."""
        return sum(one.calls for one in self.outcomes.values())

    @property
    def tokens(self) -> int:
        """The tokens of these calls, in both directions."""
        return sum(one.tokens for one in self.outcomes.values())

    def fresh(self, draws: int) -> range:
        """Return the numbers of so many draws that were not made yet."""
        return range(self.drawn, self.drawn + draws)

    async def make(self, arms: Sequence[Arm], draws: range) -> None:
        """Make a play of each of *arms* under each of *draws*, but for those that were made."""
        missing = [
            [(arm, draw) for arm in dict.fromkeys(arms) if (arm, draw) not in self.outcomes]
            for draw in draws
        ]
        total = self.done + sum(map(len, missing))
        self.drawn = max(self.drawn, draws.stop)
        # What is kept to its very end comes out as it is recorded.
        self.outcomes |= {(Arm(NEVER), draw): Outcome(self.reward, 0, 0) for draw in draws}
        for plays in missing:
            if not self.spent:
                await self._make(plays, total)

    async def _make(self, plays: Sequence[tuple[Arm, int]], total: int) -> None:
        room = anyio.CapacityLimiter(self.room)

        async def one(arm: Arm, draw: int) -> None:
            async with room:
                seed = seed_of(self.seed, self.episode, draw)
                self.outcomes[arm, draw] = await self.player.play(arm, seed)
                self.done += 1
                self.progress(self.done, total)

        try:
            async with anyio.create_task_group() as playing:
                for arm, draw in plays:
                    playing.start_soon(one, arm, draw)
        except BaseExceptionGroup as group:
            if not isinstance(first_error(group), BudgetError):
                raise
            self.spent = True
