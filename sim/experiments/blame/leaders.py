"""Which of the causes that lead is most to blame: fresh draws, and more while two are near a tie.

Those that lead are close by choice, so the draws that show that each does harm seldom show which
does more. Further draws go where they can: to the first and those that cannot be told apart from
it, half as many causes by twice as many draws in each round (sequential halving, Karnin and others
2013). Draws are common to all, so what is compared is paired differences of effects.

How many draws there are depends on which of two is ahead, not on how large an effect is; an effect
of a cause that was near a tie is an estimate by more draws, free of the choice of what leads.
"""

from collections.abc import Iterable, Sequence

import msgspec

from sim.analysis.seeds import t_interval
from sim.experiments.blame.findings import Asked
from sim.experiments.blame.plays import Plays
from sim.experiments.blame.ranking import Contrast, Effect, Outcomes, effect_of, leads, standing
from sim.experiments.blame.replays import NEVER, Arm

_SURE = 0.05


async def judge(plays: Plays, leading: Sequence[Contrast], asked: Asked) -> list[Effect]:
    """Return the effects of *leading*, what is most to blame first; plays as far as a budget goes.

    Those that cannot be told apart from the first are *tied*.
    """
    rounds = asked.rounds()
    level = 1 - _SURE / len(rounds)
    ranks, near, start = [*leading], [*leading], plays.drawn
    for count, draws in rounds:
        near = near[:count]
        fresh = plays.fresh(draws)
        await plays.make(arms_of(near), fresh)
        known = range(start, fresh.stop)
        gone = [one for one in ranks if one not in near]
        ranks = [*_by_effect(near, plays.outcomes, known), *gone]
        near = [one for one in ranks if one in near and _near(ranks, one, plays, known, level)]
        if len(near) < 2 or plays.spent:
            break
    every = range(start, plays.drawn)
    return [
        msgspec.structs.replace(
            effect_of(one, plays.outcomes, every, leading=True),
            tied=place > 0 and _near(ranks, one, plays, every, level),
        )
        for place, one in enumerate(ranks)
    ]


def arms_of(contrasts: Iterable[Contrast]) -> list[Arm]:
    """Return the arms of *contrasts*, each once, but for what is known without a play."""
    both = (arm for one in contrasts for arm in (one.kept, one.changed))
    return [arm for arm in dict.fromkeys(both) if arm.split != NEVER]


def _by_effect(near: Sequence[Contrast], outcomes: Outcomes, draws: range) -> list[Contrast]:
    return sorted(near, key=lambda one: -standing(effect_of(one, outcomes, draws, leading=False)))


def _near(
    ranks: Sequence[Contrast], one: Contrast, plays: Plays, draws: range, level: float
) -> bool:
    """Tell whether the first of *ranks* is not shown to do more harm than *one*."""
    interval = t_interval(leads(ranks[0], one, plays.outcomes, draws), level=level)
    return interval is None or interval.low <= 0
