"""The simulated user: arrives, dwells on what is recommended, responds, and leaves."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import fsum

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.trajectory import Delivery, Trajectory
from engine.arrivals import Visit
from engine.chance import Stream
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
from sim.world.quitting import Encounter, QuitRule
from sim.world.quitting.rules import Streams
from sim.world.rewards import RewardSettings, standing, true_reward, true_rewards
from storage.environments import Environment


@dataclass(frozen=True)
class Users:
    """The users of an environment, who leave by a *rule*, as its settings *quitting* say.

    *limit* steps cut an episode short. A user dwells on an item for a whole number of milliseconds
    from *least_dwell* up to *most_dwell*, each as likely as any other; or, as far as
    *dwell_by_reward* goes, the more the higher the reward stands on its scale.
    """

    environment: Environment
    rule: QuitRule
    quitting: msgspec.Struct
    rewards: RewardSettings
    limit: int
    history: int
    least_dwell: int
    most_dwell: int
    dwell_by_reward: float = 0.0

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
        streams = quit_streams(lambda purpose: delivery.chance(purpose, action.step))
        response = self.answer(trajectory, action, streams)
        dwell = self._dwell(response.reward, delivery.chance("dwell", action.step))
        delivery.publish(response, after=dwell)

    def answer(
        self, trajectory: Trajectory, action: ActionTaken, streams: Streams
    ) -> UserResponded:
        """Return what the user of *trajectory* says to *action*; *streams* give its chance."""
        reward = true_reward(self.rewards, self.environment, trajectory, action.item)
        met = Encounter(trajectory, action.item, reward, self.environment, streams)
        reason = self.rule.why(self.quitting, met)
        if reason is None:
            return UserResponded(step=action.step, reward=reward, left=False)
        evidence = self.rule.evidence(self.quitting, met, reason)
        return UserResponded(
            step=action.step, reward=reward, left=True, reason=reason, evidence=evidence
        )

    def _dwell(self, reward: float, stream: Stream) -> int:
        spread = self.most_dwell - self.least_dwell
        drawn = stream.integer(spread + 1)
        if self.dwell_by_reward:
            factors, share = self.environment.factors, self.dwell_by_reward
            liked = standing(reward, factors.low, factors.high)
            drawn = int((1 - share) * drawn + share * liked * spread)
        return self.least_dwell + drawn

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


def of_world(purpose: str) -> bool:
    """Tell whether a stream of chance for *purpose* is the user's, and no agent's."""
    return purpose == "dwell" or purpose.split(" ", maxsplit=1)[0] == "quit"


def quit_streams(draw: Callable[[str], Stream]) -> Streams:
    """Return the chance of quit rules at a step; *draw* gives that of a purpose at it."""
    return partial(_quit_stream, draw)


def _quit_stream(draw: Callable[[str], Stream], of: str = "") -> Stream:
    return draw(f"quit {of}".rstrip())


@dataclass(frozen=True)
class Truth:
    """What is true: rewards, what bores by the quit *rule*, what is near.

    Only the bound may ask it, and policies that say that they do.
    """

    environment: Environment
    rule: QuitRule
    quitting: msgspec.Struct
    changes: RewardSettings

    def rewards(self, trajectory: Trajectory) -> NDArray[np.float64]:
        """Return the reward that the user would give each item now, [items]."""
        return true_rewards(self.changes, self.environment, trajectory)

    def bores(self, trajectory: Trajectory, item: int) -> bool:
        """Tell whether *item* would make the user leave now, whatever its reward."""
        return self.rule.bores(self.quitting, trajectory, item, self.environment)

    def near(self, item: int) -> NDArray[np.bool_]:
        """Return which items are nearer to *item* than β, [items]."""
        return self.environment.factors.near(item, np.arange(len(self.environment.catalog)))
