"""A metric of one's own: a number for each visit, told beside ours, by which runs compare."""

from agents.trajectory import Trajectory
from sim import RunConfig, compare, run
from sim.metrics.own import Metric
from storage.environments import Environment


def best(visit: Trajectory, environment: Environment) -> float | None:
    return max((step.reward for step in visit.steps()), default=None)


BEST = Metric(best, meaning="the best reward of a visit", column="best")

for agent in ("reflexion", "random"):
    config = RunConfig(agent=agent, episodes=20, metrics=("__main__:BEST",))
    found = run(config, out=f"best-{agent}").own_metrics["__main__:BEST"]
    print(f"{agent}: {found.column} {found.mean} over {found.visits} visits ({found.meaning})")

comparison = compare(["best-reflexion", "best-random"], measure="__main__:BEST")
for pair in comparison.pairs:
    gap = pair.difference  # of one seed: these trained memories only
    print(f"{pair.one} - {pair.other}: {gap.mean:+.2f} [{gap.users.low:.2f}, {gap.users.high:.2f}]")
