"""What is in truth most to blame for an episode, as far as many plays of it can tell.

A plant is no fair test of what finds causes only because it was planted: another record that was
there before may do as much harm, or the episode was bad luck. Whether it is the largest cause is
asked before anybody is blamed, of the one thing that defines a cause, an intervention: the plant is
drawn anew or left out, and so is each of its rivals, by seeds that are used for nothing else.

- It does harm: the mean paired difference of R_traj without and with it, by 24 draws, has an
  interval of 95 % above 0 (8 draws decide first whether it is worth while).
- It does more than any other cause alone: the paired difference of its effect and that of the
  rival that comes nearest has an interval of 95 % above 0, too, by 64 draws (or one of 99 % by 24).
  The rivals that are far off are left by fewer draws (4 of all, 8 of eight, 24 of four, 64 of two),
  since all by 64 would take most of a minute for an episode.

Nothing here knows what blame would say. It plays the same interventions, as it has to: what blame
is tried for is to find by a small budget what this finds by a large one.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Literal, TypeAlias

from agents.embeddings import HashingEmbedder
from agents.models.embedded import EmbeddedModel
from sim.analysis.seeds import t_interval
from sim.analysis.statistics import Interval
from sim.experiments.blame.blaming import planned
from sim.experiments.blame.causes import Cause
from sim.experiments.blame.findings import Asked
from sim.experiments.blame.plays import Plays
from sim.experiments.blame.ranking import Contrast, differences
from sim.experiments.blame.replays import NEVER

NOBODYS = 1 << 50
"""A seed by which no run is recorded and nothing is blamed."""

WORTH, HARM, MOST = 8, 24, 64
"""Draws by which it is seen whether a plant is worth while, does harm, and does most harm."""

ROUNDS = ((4, 8), (8, 4), (HARM, 2))
"""Draws of the rivals, and how many stay after each round."""

Verdict: TypeAlias = Literal["harmless", "largest", "unclear", "smaller"]


@dataclass(frozen=True)
class Truth:
    """What plays say of a plant: its *effect*, its nearest *rival*, and by how much it leads."""

    verdict: Verdict
    effect: Interval
    rival: Cause | None = None
    lead: Interval | None = None

    @property
    def largest(self) -> bool:
        """Whether the plant does more harm than anything else."""
        return self.verdict == "largest"


def truth_of(run: Path, episode: int, is_it: Callable[[Cause], bool]) -> Truth:
    """Return the truth about the cause of an *episode* that *is_it* knows."""
    plan = planned(run, episode, Asked(seed=NOBODYS))
    player = plan.replayed(model=EmbeddedModel(), embedder=HashingEmbedder())

    async def found() -> Truth:
        contrasts = await plan.contrasts(player)
        plant = next(one for one in contrasts if is_it(one.cause))
        rivals = [one for one in contrasts if one != plant]
        return await _judged(plan.plays(player), plant, rivals)

    return asyncio.run(found())


async def _judged(plays: Plays, plant: Contrast, rivals: Sequence[Contrast]) -> Truth:
    for draws in (WORTH, HARM):
        await _make(plays, [plant], draws)
        effect = _interval(differences(plant, plays.outcomes, range(draws)))
        if (effect.low if draws == HARM else effect.low + effect.high) <= 0:
            return Truth("harmless", effect)
    left = [*rivals]
    for draws, stay in ROUNDS:
        await _make(plays, left, draws)
        left = sorted(left, key=lambda one: fsum(_leads(plays, plant, one, draws)))[:stay]
    found = _compared(plays, plant, left, HARM, level=0.99)
    if found.largest:
        return found
    await _make(plays, [plant, *left], MOST)
    return _compared(plays, plant, left, MOST)


def _compared(
    plays: Plays, plant: Contrast, rivals: Sequence[Contrast], draws: int, *, level: float = 0.95
) -> Truth:
    effect = _interval(differences(plant, plays.outcomes, range(draws)))
    leads = [(_interval(_leads(plays, plant, one, draws), level), one.cause) for one in rivals]
    if not leads:
        return Truth("largest", effect)
    lead, rival = min(leads, key=lambda one: one[0].low)
    if any(one.high < 0 for one, _ in leads):
        return Truth("smaller", effect, rival, lead)
    return Truth("largest" if lead.low > 0 else "unclear", effect, rival, lead)


async def _make(plays: Plays, contrasts: Sequence[Contrast], draws: int) -> None:
    arms = [arm for one in contrasts for arm in (one.changed, one.kept) if arm.split != NEVER]
    await plays.make(arms, range(draws))


def _leads(plays: Plays, plant: Contrast, rival: Contrast, draws: int) -> list[float]:
    """Return by how much the effect of the *plant* is larger, draw by draw."""
    both = (differences(one, plays.outcomes, range(draws)) for one in (plant, rival))
    return [more - less for more, less in zip(*both, strict=True)]


def _interval(numbers: Sequence[float], level: float = 0.95) -> Interval:
    found = t_interval(numbers, level=level)
    assert found is not None
    return found
