"""An agent of one's own: the least popular item that was not shown."""

from collections.abc import Collection

from agents.policies.simple import following
from agents.trajectory import Trajectory
from engine.chance import Stream
from sim import RunConfig, replay, run
from storage.catalog import Catalog


class Unpopular:
    def __init__(self, catalog: Catalog) -> None:
        self.order: list[int] = catalog.by_popularity[::-1].tolist()

    def choose(self, trajectory: Trajectory, shown: Collection[int], stream: Stream) -> int:
        return next(item for item in self.order if item not in shown)


UNPOPULAR = following(lambda world: Unpopular(world.catalog))

summary = run(RunConfig(episodes=20), agent=UNPOPULAR, out="unpopular")

print(f"{summary.agent}: R_traj {summary.metrics.r_traj:.1f}")
print(f"novelty {summary.metrics.novelty:.1f} bits")
assert replay("unpopular").agrees
