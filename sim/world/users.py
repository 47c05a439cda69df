"""The simulated user: arrives, dwells on what is recommended, responds, and leaves."""

from dataclasses import dataclass
from math import fsum

from agents.trajectory import Delivery
from engine.arrivals import Visit
from engine.messages import (
    ActionTaken,
    EpisodeEnded,
    EpisodeStarted,
    MemoryLength,
    PlanRequested,
    Rated,
    UserResponded,
    number,
)
from sim.world.quitting import QuitSettings, why_leave
from sim.world.rewards import RewardSettings, true_reward
from storage.environments import Environment


@dataclass(frozen=True)
class Users:
    """The users of an environment.

    *limit* steps cut an episode short. A user dwells on an item for a whole number of milliseconds
    from *least_dwell* up to *most_dwell*, each as likely as any other.
    """

    environment: Environment
    quitting: QuitSettings
    rewards: RewardSettings
    limit: int
    history: int
    least_dwell: int
    most_dwell: int

    def opening(self, visit: Visit, memories: tuple[MemoryLength, ...]) -> EpisodeStarted:
        """Return the `EpisodeStarted` of a visit, with the last part of the user's history."""
        titles = self.environment.catalog.titles
        history = self.environment.history(visit.user, self.history)
        return EpisodeStarted(
            user=visit.user,
            session=visit.session,
            arrival=visit.arrival,
            history=tuple(
                Rated(item=item, title=titles[item], rating=number(rating))
                for item, rating in history
            ),
            memories=memories,
            phase=visit.phase,
            teaching=visit.teaching,
        )

    async def arrive(self, delivery: Delivery[EpisodeStarted]) -> None:
        """Wait for the first recommendation."""
        delivery.publish(PlanRequested(step=0))

    async def respond(self, delivery: Delivery[ActionTaken]) -> None:
        """Answer `ActionTaken` with `UserResponded`, after dwelling on the item."""
        action, trajectory = delivery.message, delivery.trajectory
        factors = self.environment.factors
        reward = true_reward(self.rewards, factors, trajectory.user, action.item)
        earlier = [step.item for step in trajectory.recent(max(self.quitting.window, 1))]
        reason = why_leave(self.quitting, factors, action.item, reward, earlier)
        spread = self.most_dwell - self.least_dwell + 1
        dwell = self.least_dwell + delivery.chance("dwell", action.step).integer(spread)
        response = UserResponded(
            step=action.step, reward=reward, left=reason is not None, reason=reason
        )
        delivery.publish(response, after=dwell)

    async def go_on(self, delivery: Delivery[UserResponded]) -> None:
        """Ask for more, or end the episode."""
        response = delivery.message
        length = response.step + 1
        if not response.left and length < self.limit:
            delivery.publish(PlanRequested(step=length))
            return
        total = fsum(step.reward for step in delivery.trajectory.steps())
        delivery.publish(
            EpisodeEnded(
                length=length,
                reward=number(total),
                reason="quit" if response.left else "limit",
            )
        )
