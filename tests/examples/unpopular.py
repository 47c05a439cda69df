"""An agent of one's own: the least popular item that was not shown."""

from collections.abc import Collection

from agents.making import Agent, Subscriptions, World
from agents.policies.simple import Policy
from agents.roster import AGENTS
from agents.trajectory import Trajectory
from engine.chance import Stream
from engine.messages import PlanRequested
from sim import RunConfig, replay, run
from storage.catalog import Catalog


class Unpopular:
    def __init__(self, catalog: Catalog) -> None:
        self.order: list[int] = catalog.by_popularity[::-1].tolist()

    def choose(self, trajectory: Trajectory, shown: Collection[int], stream: Stream) -> int:
        return next(item for item in self.order if item not in shown)


def unpopular(world: World) -> Subscriptions:
    policy = Policy(world.catalog, Unpopular(world.catalog), world.settings.no_repeats)
    return [(PlanRequested, policy.act)]


AGENTS["unpopular"] = Agent(unpopular)
summary = run(RunConfig(agent="unpopular", episodes=20), out="unpopular")

print(f"R_traj {summary.metrics.r_traj:.1f}, novelty {summary.metrics.novelty:.1f} bits")
assert replay("unpopular").agrees
