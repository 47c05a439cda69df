"""`billp/Recommend-v0`: a visit as an environment of Gymnasium, which the extra `gym` brings.

What is done in it gets the rewards and the lengths that it would get in a run, bit for bit.
"""

from dataclasses import dataclass, field
from operator import index
from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
from gymnasium import Env
from gymnasium.error import InvalidAction, ResetNeeded

from engine.errors import ConfigError
from engine.messages import UserResponded
from sim.gym.episode import Episode
from sim.gym.past import Flags, Floats, Whole
from sim.gym.seen import SESSIONS, How, Observation, Sight, Where, sight
from sim.runs.visitors import audience, users_of

Stepped: TypeAlias = tuple[Observation, float, bool, bool, dict[str, Any]]


@dataclass(eq=False)
class _Seen:
    """An *episode* that goes on until it is *over*, as a learner sees it.

    What is returned is new each time: who keeps it must not see it change.
    """

    sight: Sight
    episode: Episode
    over: bool = False
    step: int = 0
    shown: Flags = field(init=False)

    def __post_init__(self) -> None:
        config = self.sight.config
        self.shown = np.zeros(len(self.sight.environment.catalog), np.bool_)
        self._history, self._ratings = self.sight.histories(np.array([self.episode.user]))
        # What is observed are windows of these: before the first step there is nothing.
        self._before = max(config.limit, self.sight.recent)
        self._items: Whole = np.full(self._before + config.limit, -1, np.int64)
        self._rewards: Floats = np.zeros(len(self._items))

    def take(self, item: int) -> UserResponded:
        """Return what the user says to *item*."""
        response = self.episode.take(item)
        place = self._before + self.step
        self._items[place], self._rewards[place] = item, response.reward
        self.shown[item] = True
        self.step += 1
        self.over = response.left or self.step >= self.sight.config.limit
        return response

    def observed(self) -> Observation:
        """Return what is observed."""
        now = self._before + self.step
        recent = slice(now - self.sight.recent, now)
        return {
            "history": self._history[0].copy(),
            "ratings": self._ratings[0].copy(),
            "items": self._items[recent].copy(),
            "rewards": self._rewards[recent].copy(),
            "shown": self._items[now - self.sight.config.limit : now].copy(),
            "step": np.array([self.step]),
        }

    def told(self, reason: str | None = None) -> dict[str, Any]:
        """Return what else is known: who it is, what may be recommended, why the user left."""
        told = {
            "user": self.episode.user,
            "session": self.episode.session,
            "action_mask": self.sight.open_to(self.shown),
        }
        return told if reason is None else {**told, "reason": reason}


class Recommend(Env[Observation, np.int64]):
    """Recommend items to a user, one a step, until the user leaves or the limit is reached.

    *environment* is a directory, the name of a built-in world or an `Environment`; *config*, a
    `RunConfig` or settings as those of run.toml, says why users leave, what changes rewards, who
    comes (`users`: train, test or all), and the `limit`, `history`, `repeats` and `seed`. An action
    is an item. Observed are the user's `history` and its `ratings`, the last *recent* `items` and
    `rewards`, all that was `shown`, and the `step`: the newest last, and −1 (0 for ratings and
    rewards) before the first. A user who left is `terminated`, a visit that the limit cut short
    `truncated`. `info` tells `user`, `session` and `action_mask`, and why a user left (`reason`).

    What was shown is not available unless `repeats` is "allow". To take it *raises* InvalidAction,
    or *ends* the visit for a reward of 0.
    """

    def __init__(
        self,
        environment: Where | None = None,
        config: How | None = None,
        *,
        recent: int = 4,
        invalid: Literal["raises", "ends"] = "raises",
        render_mode: None = None,
    ) -> None:
        if invalid not in {"raises", "ends"}:
            raise ConfigError(f"invalid: expected 'raises' or 'ends', got {invalid!r}")
        self._sight, self._invalid = sight(environment, config, recent), invalid
        self.render_mode = render_mode
        self.action_space = self._sight.actions
        self.observation_space = self._sight.space
        self._users = users_of(self._sight.config, self._sight.environment)
        self._audience = np.array(audience(self._sight.config, self._sight.environment))
        self._seen: _Seen | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin a visit, of a user and in a session that are drawn, unless *options* name them.

        A `user` who is named comes in session 0, unless a `session` is. Raises ConfigError for
        users that there are not.
        """
        super().reset(seed=seed)
        user, session = self._who(options or {})
        episode = Episode(self._users, self._sight.config.seed, user, session)
        self._seen = _Seen(self._sight, episode)
        return self._seen.observed(), self._seen.told()

    def _who(self, options: dict[str, Any]) -> tuple[int, int]:
        if unknown := options.keys() - {"user", "session"}:
            raise ConfigError(f"options are user and session, got {min(unknown)!r}")
        user, session = options.get("user"), options.get("session", 0)
        if user is None:
            user = self._audience[self.np_random.integers(len(self._audience))]
            # Drawn, or what chance does to a user would be the same in each visit.
            session = options.get("session", self.np_random.integers(SESSIONS))
        count = len(self._sight.environment.users)
        if not 0 <= index(user) < count:
            raise ConfigError(f"user: expected a number from 0 to {count - 1}, got {user!r}")
        return index(user), index(session)

    def step(self, action: SupportsIndex) -> Stepped:
        """Recommend the item *action*, and return what came of it.

        Raises InvalidAction for what is not available, ResetNeeded when there is no visit.
        """
        seen, item = self._seen, index(action)
        if seen is None or seen.over:
            raise ResetNeeded("no visit goes on: call reset before step")
        if not self._available(seen, item):
            return self._refused(seen, item)
        response = seen.take(item)
        truncated = not response.left and seen.step >= self._sight.config.limit
        told = seen.told(response.reason)
        return seen.observed(), response.reward, response.left, truncated, told

    def _available(self, seen: _Seen, item: int) -> bool:
        last = len(seen.shown) - 1
        if not 0 <= item <= last:
            raise InvalidAction(f"expected an item from 0 to {last}, got {item}")
        return self._sight.config.repeats == "allow" or not seen.shown[item]

    def _refused(self, seen: _Seen, item: int) -> Stepped:
        if self._invalid == "raises":
            raise InvalidAction(
                f"item {item} was shown in this visit before: choose by info['action_mask'], or"
                " make the environment with invalid='ends'"
            )
        seen.over = True
        return seen.observed(), 0.0, True, False, seen.told("unavailable")
