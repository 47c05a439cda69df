"""`billp/Recommend-v0` many times over: visits that go on together, as fast as numpy goes."""

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from engine.errors import ConfigError
from sim.gym.crowd import Crowd
from sim.gym.past import Flags, Floats, Whole
from sim.gym.seen import SESSIONS, How, Observation, Where, sight
from sim.runs.visitors import audience


class RecommendVector(VectorEnv[Observation, Whole, Floats | Flags]):
    """So many visits, *num_envs*, at once; the rest is as in `Recommend`.

    A visit that is over begins anew at the next step, whose action it does not see (next-step
    autoreset). What is not available raises ConfigError.
    """

    def __init__(
        self,
        num_envs: int,
        environment: Where | None = None,
        config: How | None = None,
        *,
        recent: int = 4,
    ) -> None:
        self.metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs, self._sight = num_envs, sight(environment, config, recent)
        self.single_action_space = self._sight.actions
        self.single_observation_space = self._sight.space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        there, rules = self._sight.environment, self._sight.config
        self._audience = np.array(audience(rules, there))
        self._crowd = Crowd(there, rules, range(len(there.users)))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin all visits, by users and in sessions that are drawn, unless *options* name them.

        *users* and *sessions* are arrays [num_envs]; those who are named come in session 0 unless
        their sessions are. Raises ConfigError for users that there are not.
        """
        super().reset(seed=seed)
        named = options or {}
        if unknown := named.keys() - {"users", "sessions"}:
            raise ConfigError(f"options are users and sessions, got {min(unknown)!r}")
        users, sessions = self._drawn(self.num_envs)
        if "users" in named:
            users, sessions = np.asarray(named["users"], np.int64), np.zeros_like(sessions)
        if users.shape != sessions.shape:
            raise ConfigError(f"users: expected {self.num_envs:,}, got an array {users.shape}")
        self._crowd.begin(users, np.asarray(named.get("sessions", sessions), np.int64))
        self._history, self._ratings = self._sight.histories(self._crowd.users)
        return self._observed(), self._told()

    def _drawn(self, count: int) -> tuple[Whole, Whole]:
        users = self._audience[self.np_random.integers(len(self._audience), size=count)]
        # Drawn, or what chance does to a user would be the same in each visit.
        return users, self.np_random.integers(SESSIONS, size=count)

    def step(
        self, actions: Whole
    ) -> tuple[Observation, Floats | Flags, Floats | Flags, Floats | Flags, dict[str, Any]]:
        """Recommend the items *actions* [num_envs], and return what came of them."""
        over = self._crowd.over.copy()
        stepped = self._crowd.step(np.asarray(actions))
        self._begin_again(over)
        told = self._told()
        return self._observed(), stepped.rewards, stepped.left, stepped.truncated, told

    def _begin_again(self, where: Flags) -> None:
        users, sessions = self._drawn(int(where.sum()))
        self._crowd.restart(where, users, sessions)
        self._history[where], self._ratings[where] = self._sight.histories(users)

    def _observed(self) -> Observation:
        items, rewards = self._crowd.recent(self._sight.recent)
        return {
            "history": self._history.copy(),
            "ratings": self._ratings.copy(),
            "items": items,
            "rewards": rewards,
            "shown": self._crowd.items(self._sight.config.limit),
            "step": self._crowd.steps[:, None].copy(),
        }

    def _told(self) -> dict[str, Any]:
        told = {
            "user": self._crowd.users.copy(),
            "session": self._crowd.sessions.copy(),
            "action_mask": self._sight.open_to(self._crowd.shown),
        }
        # As Gymnasium says of a vector's infos: who has one.
        everybody = {f"_{name}": np.ones(self.num_envs, np.bool_) for name in told}
        return told | everybody
