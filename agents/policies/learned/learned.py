"""The agent that plays a policy from a file: `--agent rl:PATH`.

What learned it (`billp train`) is not needed to play it. The trace tells the policy by its digest,
by how it was learned, and by what it is told that no agent could know; where the file is, it does
not.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from agents.making import Agent, AgentFile, Oracle, Subscriptions, World
from agents.policies.learned.observation import near_recent, sight_of
from agents.policies.learned.saved import Saved, read_policy
from agents.policies.simple import Policy
from agents.settings import BillpSettings
from agents.trajectory import Trajectory
from engine.chance import Stream
from engine.errors import ConfigError
from engine.messages import PlanRequested


class LearnedPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the *policy* is, and what its file says: filled in by it while *digest* is empty.

    `{seed}` in the path stands for the run's seed. The path leaves no mark on a trace; the *digest*
    decides. *privileged* is what the policy is told that no agent could know; *environment_digest*
    is that of the world in which it was trained.
    """

    policy: str = ""
    digest: str = ""
    algorithm: str = ""
    recipe: str = ""
    privileged: str = ""
    environment_digest: str = ""


class LearnedSettings(BillpSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all of ours have, and the policy."""

    rl: LearnedPolicy = LearnedPolicy()


def completed(settings: LearnedSettings, seed: int) -> LearnedSettings:
    """Return *settings* with what the file of the policy says, unless they say it already.

    Raises ConfigError if no policy is named, or none is there.
    """
    if settings.rl.digest:
        return settings
    if not settings.rl.policy:
        what = "the agent rl plays a policy from a file, and none is named"
        raise ConfigError(what, hint="--agent rl:PATH; billp train writes one")
    path = settings.rl.policy.replace("{seed}", str(seed))
    saved = read_policy(Path(path))
    told = LearnedPolicy(
        policy=path,
        digest=saved.digest,
        algorithm=saved.head.algorithm,
        recipe=saved.head.recipe,
        privileged=",".join(saved.head.privileged),
        environment_digest=saved.head.environment,
    )
    return msgspec.structs.replace(settings, rl=told)


@dataclass(frozen=True, eq=False)
class Learned:
    """Takes the item that the policy gives most; the lower one of those that it gives the same.

    Nothing comes again until all was shown. The *oracle* is asked by a policy alone that was told
    in training what it knows, and says so.
    """

    saved: Saved
    oracle: Oracle

    def choose(self, trajectory: Trajectory, shown: Collection[int], stream: Stream) -> int:
        """Return the best item that was not shown."""
        head, count = self.saved.head, self.saved.items
        sight = sight_of(self.saved.folding, trajectory, head.window, head.limit)
        if "pair" in head.privileged:
            sight = replace(sight, near=near_recent(self.oracle, sight.items, count))
        closed = np.zeros((1, count), np.bool_)
        if len(shown) < count:
            closed[0, sorted(shown)] = True
        return int(self.saved.best(sight, closed)[0])


def learned(world: World[LearnedSettings]) -> Subscriptions:
    """Return the player of a policy; raises ConfigError if its file is missing or another one."""
    told = world.settings.rl
    saved = read_policy(Path(told.policy))
    if saved.digest != told.digest:
        what = f"expected the policy {told.digest[:12]}, got {saved.digest[:12]}"
        hint = "name where it is: --set rl.policy=PATH; for another one, run anew"
        raise ConfigError(f"{told.policy}: {what}", hint=hint)
    if saved.items != len(world.catalog):
        what = f"is of a catalog of {saved.items:,} items, here are {len(world.catalog):,}"
        raise ConfigError(f"{told.policy}: {what}", hint="train one here: billp train")
    # It never learned what comes of the same item again.
    policy = Policy(world.catalog, Learned(saved, world.oracle))
    return [(PlanRequested, policy.act)]


LEARNED = Agent(
    learned,
    LearnedSettings,
    file=AgentFile("rl.policy", "rl.digest", "rl.environment_digest", completed),
)
