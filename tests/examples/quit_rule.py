"""A quit rule of one's own: users who leave by chance, the sooner the worse the item was."""

import msgspec

from agents.trajectory import Trajectory
from sim import RunConfig, replay, run
from sim.world.quitting import Encounter, QuitRule
from storage.environments import Environment


class Moods(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    patience: float = 0.9


def why(settings: Moods, at: Encounter) -> str | None:
    stays = at.reward / at.environment.factors.high * settings.patience
    return "mood" if at.stream().fraction() > stays else None


def never(settings: Moods, trajectory: Trajectory, item: int, world: Environment) -> bool:
    return False


MOODS = QuitRule(why, Moods, {"mood": "in no mood to stay"}, bores=never)

summary = run(RunConfig(agent="random", episodes=50), quit_rule=MOODS, out="moods")

print(f"Len {summary.metrics.len:.1f}, why visits ended: {summary.metrics.quits}")
assert replay("moods").agrees
