"""The longest episode so far, replayed to everybody: the baseline that knows nothing of the user.

Nearness of items does not depend on who looks at them, so a sequence that did not bore one user
bores few. An agent that does not beat it has learned nothing about users.
"""

from dataclasses import dataclass
from math import fsum

import msgspec

from agents.making import Agent, AgentMemory, Subscriptions, World
from agents.policies.simple import Random, publish_choice
from agents.settings import BillpSettings
from agents.trajectory import Delivery, task_keys, task_lines
from engine.messages import EpisodeSettled, PlanRequested, number
from engine.records import View
from storage.catalog import Catalog


class ItemSequence(msgspec.Struct, frozen=True, kw_only=True):
    """The items of an episode after which the user stayed, in order, and their rewards' sum."""

    items: tuple[int, ...]
    reward: float


def _says(record: ItemSequence) -> str:
    return f"items {', '.join(map(str, record.items))}: sum of rewards {record.reward:g}"


SEQUENCES = AgentMemory(
    "sequences", ItemSequence, key_lines=task_keys, says=_says, keyed_by="a user's history"
)


@dataclass(frozen=True)
class BestSequence:
    """Replays the longest sequence known, then goes on with items drawn at random.

    So sequences grow while it is trained. Nothing comes again until all was shown. Of equally long
    sequences the most rewarding counts, then the oldest.
    """

    catalog: Catalog

    async def act(self, delivery: Delivery[PlanRequested]) -> None:
        """Answer `PlanRequested` with `ActionTaken`."""
        trajectory = delivery.trajectory
        shown = {step.item for step in trajectory.steps()}
        if len(shown) == len(self.catalog):
            shown.clear()
        best = longest(delivery.view(SEQUENCES))
        stream = delivery.chance("policy", trajectory.step)
        item = (
            best.items[trajectory.step]
            if best is not None and trajectory.step < len(best.items)
            else Random(self.catalog).choose(trajectory, shown, stream)
        )
        publish_choice(delivery, item, self.catalog)

    async def remember(self, delivery: Delivery[EpisodeSettled]) -> None:
        """Keep the sequence, without the item at which the user left."""
        stayed = [step for step in delivery.trajectory.steps() if not step.left]
        if stayed:
            items = tuple(step.item for step in reversed(stayed))
            reward = number(fsum(step.reward for step in stayed))
            key = await delivery.embed(task_lines(delivery.trajectory))
            delivery.remember(SEQUENCES, [(key, ItemSequence(items=items, reward=reward))])


def longest(view: View[ItemSequence]) -> ItemSequence | None:
    """Return the longest sequence that *view* holds."""
    known = (view[position].payload for position in range(view.start, len(view)))
    return max(known, key=lambda one: (len(one.items), one.reward), default=None)


def best_sequence(world: World[BillpSettings]) -> Subscriptions:
    """Return the baseline that replays the longest training episode to everybody."""
    agent = BestSequence(world.catalog)
    return [(PlanRequested, agent.act), (EpisodeSettled, agent.remember)]


BEST_SEQUENCE = Agent(best_sequence, BillpSettings, memories=(SEQUENCES,))
