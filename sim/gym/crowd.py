"""Many visits at once, without messages and exactly as in a run: the world that learners train in.

The rules `billp` and `quantile` are counted for all visits together, others for one after another.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.errors import ConfigError
from sim.config.run import RunConfig
from sim.gym.episode import Episode
from sim.gym.measured import Measured, measurable
from sim.gym.past import Flags, Floats, Past, Whole
from sim.runs.scenario import check_runnable
from sim.runs.visitors import audience, users_of
from storage.environments import Environment


@dataclass(frozen=True)
class Stepped:
    """What came of a step of n visits: *rewards* [n], who *left* [n], whom the limit *truncated*.

    All is 0 or false of those that were over before.
    """

    rewards: Floats
    left: Flags
    truncated: Flags


class _Answering(Protocol):
    """Speaks for the users of visits."""

    def begin(self, at: Whole, users: Whole, sessions: Whole) -> None:
        """Let *users* begin visits *at* these positions."""
        ...

    def answer(self, at: Whole, items: Whole) -> tuple[Floats, Flags]:
        """Return rewards and who leaves; what is asked has been met then."""
        ...


class _OneByOne:
    """Answers as a run does, for one user after another: by any rule."""

    def __init__(self, environment: Environment, config: RunConfig) -> None:
        self._users, self._seed = users_of(config, environment), config.seed
        self._episodes: dict[int, Episode] = {}

    def begin(self, at: Whole, users: Whole, sessions: Whole) -> None:
        who = zip(at.tolist(), users.tolist(), sessions.tolist(), strict=True)
        for place, user, session in who:
            self._episodes[place] = Episode(self._users, self._seed, user, session)

    def answer(self, at: Whole, items: Whole) -> tuple[Floats, Flags]:
        pairs = zip(at.tolist(), items.tolist(), strict=True)
        said = [self._episodes[place].take(item) for place, item in pairs]
        rewards = np.array([response.reward for response in said], np.float64)
        return rewards, np.array([response.left for response in said], np.bool_)


class Crowd:
    """Visits to *environment* by *users*, unless said those that *config* names, by its rules.

    Who begins one that is none of *users* is an error: a learner cannot come upon those that it is
    tested on. Raises ConfigError for a configuration that cannot be run.
    """

    def __init__(
        self, environment: Environment, config: RunConfig, users: Sequence[int] | None = None
    ) -> None:
        check_runnable(config, environment)
        self.environment, self.config = environment, config
        welcome = audience(config, environment) if users is None else users
        self._welcome = np.isin(np.arange(len(environment.users)), np.array(welcome))
        self.begin(np.array([], np.int64))

    def begin(self, users: Whole, sessions: Whole | None = None) -> None:
        """Begin visits by *users* [n], in place of all that there are.

        Unless their *sessions* [n] are given, the visits of a user are numbered from 0 on. Raises
        ConfigError for a user who is not welcome here.
        """
        count = len(users)
        self.users, self.sessions = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.over = np.ones(count, np.bool_)
        self._past = Past(count, len(self.environment.catalog))
        self._visits: Counter[int] = Counter()
        self._answering: _Answering = (
            Measured(self.environment, self.config, self._past)
            if measurable(self.config)
            else _OneByOne(self.environment, self.config)
        )
        self.restart(self.over.copy(), users, sessions)

    def restart(self, where: Flags, users: Whole, sessions: Whole | None = None) -> None:
        """Begin visits by *users* in the places *where* [n] says; there are as many users.

        Visits of a user are numbered on unless their *sessions* are given.
        """
        at, users = np.flatnonzero(where), np.asarray(users, np.int64)
        self._check_users(users, len(at))
        if not len(at):
            return
        if sessions is None:
            sessions = np.array([self._next_session(user) for user in users.tolist()])
        self.users[at], self.sessions[at], self.over[at] = users, sessions, False
        self._past.forget(at)
        self._answering.begin(at, users, self.sessions[at])

    def _check_users(self, users: Whole, places: int) -> None:
        if users.shape != (places,):
            raise ConfigError(f"expected {places:,} users, one for each visit, got {users.shape}")
        known = (users >= 0) & (users < len(self._welcome))
        welcome = known & self._welcome[np.where(known, users, 0)]
        if not welcome.all():
            stranger = int(users[~welcome][0])
            hint = "Crowd(environment, config, users) says who may"
            raise ConfigError(f"user {stranger} may not visit this crowd", hint=hint)

    def _next_session(self, user: int) -> int:
        self._visits[user] += 1
        return self._visits[user] - 1

    def step(self, items: Whole) -> Stepped:
        """Recommend *items* [n], one in each visit; those of visits that are over do not matter.

        Raises ConfigError for what is no item, or was shown in the visit and must not be again.
        """
        if items.shape != self.users.shape or items.dtype.kind not in "iu":
            what = f"an array of {items.dtype} {items.shape}"
            raise ConfigError(f"expected {len(self.users):,} items, by their positions, got {what}")
        at, stepped = np.flatnonzero(~self.over), self._nothing()
        chosen = items[at].astype(np.int64)
        self._check_items(at, chosen)
        rewards, left = self._answering.answer(at, chosen)
        self._past.add(at, chosen, rewards)
        cut = ~left & (self.steps[at] >= self.config.limit)
        stepped.rewards[at], stepped.left[at], stepped.truncated[at] = rewards, left, cut
        self.over[at] = left | cut
        return stepped

    def _nothing(self) -> Stepped:
        count = len(self.users)
        return Stepped(np.zeros(count), np.zeros(count, np.bool_), np.zeros(count, np.bool_))

    def _check_items(self, at: Whole, items: Whole) -> None:
        known = (items >= 0) & (items < self._past.items)
        if not known.all():
            last = self._past.items - 1
            raise ConfigError(f"expected items from 0 to {last}, got {int(items[~known][0])}")
        if self.config.repeats == "allow":
            return
        again = self.shown[at, items]
        if again.any():
            what = f"item {int(items[again][0])} was shown in this visit before"
            raise ConfigError(what, hint="choose one that was not, or set repeats=allow")

    @property
    def steps(self) -> Whole:
        """How many items were recommended in each visit, [n]."""
        return self._past.steps

    @property
    def shown(self) -> Flags:
        """Which items were, [n, items]; a view, not a copy."""
        return self._past.shown

    def items(self, count: int) -> Whole:
        """Return the last *count* items of each visit as `recent` does."""
        return self._past.items_of(np.arange(len(self.users)), count)

    def recent(self, count: int) -> tuple[Whole, Floats]:
        """Return the last *count* items and rewards of each visit, [n, count], the newest last.

        Where there are fewer, −1 and 0 stand before them.
        """
        everywhere = np.arange(len(self.users))
        return self._past.items_of(everywhere, count), self._past.rewards_of(everywhere, count)
