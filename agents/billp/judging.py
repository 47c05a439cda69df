"""Saying what the steps of a settled episode were worth, with a critic or without."""

from collections.abc import Iterable
from dataclasses import dataclass

from agents.billp.values import Judge, Judged, returned_steps
from agents.trajectory import Delivery
from engine.messages import AdvantageEstimated, EpisodeSettled


def tell_advantages(
    delivery: Delivery[EpisodeSettled], steps: Iterable[Judged]
) -> list[AdvantageEstimated]:
    """Publish the advantages of *steps*, and return what was published."""
    told = [
        AdvantageEstimated(
            step=step.step,
            value=step.value,
            next_value=step.next_value,
            advantage=step.advantage,
        )
        for step in steps
    ]
    for message in told:
        delivery.publish(message)
    return told


@dataclass(frozen=True)
class MonteCarlo:
    """Judges steps by what came of them, in place of a critic."""

    judge_steps: Judge = returned_steps

    async def settle(self, delivery: Delivery[EpisodeSettled]) -> None:
        """Publish the advantages of the episode's steps."""
        tell_advantages(delivery, self.judge_steps(delivery.episode))
