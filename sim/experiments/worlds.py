"""Whether a world rewards knowing its users: what chance, one sequence and readers get in it.

All figures are shares of what `diverse-greedy` gets from the same users. *random* is chance;
*best sequence* is the agent of that name after 100 visits; *best fixed* is one sequence for all,
chosen greedily with full knowledge of them; the *reader* knows of items what long experience tells
(their mean reward, which are alike) and infers a user's taste for categories from the history and
the rewards so far; the *ideal* does so for the true factors of items.
"""

from dataclasses import dataclass, field

import msgspec
import numpy as np

from engine.chance import chance
from engine.messages import number
from sim.config.run import RunConfig
from sim.experiments.crowd import Choice, Crowd, Floats, Items, Visits, play
from storage.datasets.draws import integers
from storage.environments import Environment

MOST_ITEMS = 20_000
"""In larger catalogs so many users would not fit into memory at once."""

_USERS = 200
_TRAINED, _BATCH = 100, 10
_HISTORY = 10
_PATIENCE = (0.0, 10.0, 30.0, 100.0)  # what staying may be worth to who plans for all
_LEAST_NOISE = 0.01


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What policies get of *users*, as shares of the bound's *r_traj*; *len* is the bound's."""

    users: int
    r_traj: float
    len: float
    limit: int
    random: float
    best_sequence: float
    best_fixed: float
    reader: float
    ideal: float

    @property
    def bars(self) -> list[tuple[str, str, bool]]:
        """What is asked of a world: in words, the bar, and whether it is met."""
        return [
            ("chance gets", "at most 8 %", self.random <= 0.08),
            ("one sequence for all gets", "at most 60 %", self.best_fixed <= 0.6),
            ("a reader of categories gets", "at least 75 %", self.reader >= 0.75),
            ("the bound stays", "to the limit", self.len >= 0.98 * self.limit),
        ]


def judge(environment: Environment, config: RunConfig) -> Judgement:
    """Return what policies get in *environment* with the rules of *config*.

    Of up to 200 users, those to test with first; what long experience tells is what others say, as
    many of them, if there are any. Raises ConfigError for rules that cannot be judged.
    """
    everybody = [*environment.test_users.tolist(), *environment.train_users.tolist()]
    judged, rest = everybody[:_USERS], everybody[_USERS : 2 * _USERS]
    limit = min(config.limit, len(environment.catalog))
    config = msgspec.structs.replace(config, limit=limit)
    crowd = Crowd(environment, config, judged)
    others = crowd.of(rest or judged)
    bound = play(crowd, lambda visits: visits.best(visits.rewards()))
    total = bound.total() or 1.0  # a scale may begin at 0

    def share(*visits: Visits) -> float:
        return number(float(np.mean([one.total() for one in visits])) / total)

    return Judgement(
        users=len(judged),
        r_traj=number(total),
        len=number(float(np.mean([np.argmin([*stays, False]) for stays in _stays(bound)]))),
        limit=limit,
        random=share(play(crowd, at_random(0))),
        best_sequence=share(*(best_sequence(crowd, seed) for seed in range(3))),
        best_fixed=max(share(play(crowd, for_all(patience))) for patience in _PATIENCE),
        reader=share(play(crowd, Learner(crowd, others, categories(crowd)).choose)),
        ideal=share(play(crowd, Learner(crowd, others, factors(crowd)).choose)),
    )


def at_random(seed: int) -> Choice:
    """Return the choice of any item that was not shown."""

    def choose(visits: Visits) -> Items:
        # Everybody was shown one item at each step, so as many are open to each.
        step = len(visits.met)
        users, count = visits.shown.shape
        rank = integers(seed, f"judged {step}", users, count - step)
        items: Items = np.argmax(np.cumsum(~visits.shown, axis=1) > rank[:, None], axis=1)
        return items

    return choose


def best_sequence(crowd: Crowd, seed: int) -> Visits:
    """Return the visits of who meets the best of 100 training visits, then items by chance."""
    train = crowd.environment.train_users.tolist()
    trained = chance(seed, 0, 0, 0, "judged").shuffled(train)[:_TRAINED]
    best: tuple[int, float, list[int]] = (0, 0.0, [])

    def choose(visits: Visits) -> Items:
        step = len(visits.met)
        if step < len(best[2]):
            return np.full(len(visits.here), best[2][step])
        return at_random(seed)(visits)

    for start in range(0, len(trained), _BATCH):
        visits = play(crowd.of(trained[start : start + _BATCH]), choose)
        best = max(best, *_kept(visits))
    return play(crowd, choose)


def _stays(visits: Visits) -> list[list[bool]]:
    """Return for each user after which of the steps the user stayed."""
    stays: list[list[bool]] = np.array(visits.stayed).T.tolist()
    return stays


def _kept(visits: Visits) -> list[tuple[int, float, list[int]]]:
    """Return each visit as its length, rewards and items, without the one at which a user left."""
    kept = []
    for user, stays in enumerate(_stays(visits)):
        length = sum(stays)
        rewards = sum(float(given[user]) for given in visits.given[:length])
        kept.append((length, rewards, [int(items[user]) for items in visits.met[:length]]))
    return kept


def for_all(patience: float) -> Choice:
    """Return the choice of one item for all: of most reward, where a user who stays is worth more.

    *patience* is that worth, less towards the limit.
    """

    def choose(visits: Visits) -> Items:
        crowd, rewards = visits.crowd, visits.rewards()
        stays = ~visits.bored() & (rewards >= crowd.lowest[:, None])
        ahead = min(1.0, (crowd.config.limit - len(visits.met)) / 10)
        worth = ((rewards + patience * ahead * stays) * visits.here[:, None]).sum(axis=0)
        worth[visits.shown[0]] = -1.0
        return np.full(len(visits.here), int(np.argmax(worth)))

    return choose


def categories(crowd: Crowd) -> Floats:
    """Return what a reader sees of items: their categories at unit length, and 1."""
    lengths = np.maximum(np.sqrt(np.square(crowd.shares).sum(axis=1, keepdims=True)), 1e-12)
    return np.column_stack([crowd.shares / lengths, np.ones(len(lengths))])


def factors(crowd: Crowd) -> Floats:
    """Return the true factors of items, and 1."""
    model = crowd.environment.factors
    return np.column_stack([model.items / (1 << model.bits), np.ones(len(model.items))])


@dataclass(eq=False)
class Learner:
    """Infers users from their histories and the rewards so far.

    By Bayesian linear regression of what a reward is above its item's mean on *features*, and on
    what satiation takes; prior and noise are those of *others*, whose rewards are known.
    """

    crowd: Crowd
    others: Crowd
    features: Floats
    precision: Floats = field(init=False)
    moment: Floats = field(init=False)
    _levels: Floats = field(init=False)

    def __post_init__(self) -> None:
        rewards, strength = self.others.rewards, self.others.strength
        self.means = rewards.mean(axis=0)
        weights = np.linalg.lstsq(self.features, (rewards - self.means).T, rcond=None)[0]
        rest = (rewards - self.means).T - self.features @ weights
        self.noise = max(float(rest.var()), _LEAST_NOISE)
        certain = 1 / np.r_[weights.var(axis=1) + 1e-6, strength.var() + 1e-6]
        middle = np.r_[np.zeros(self.features.shape[1]), strength.mean()]
        self.precision = np.repeat(np.diag(certain)[None], len(self.crowd.users), axis=0)
        self.moment = self.precision @ middle
        self._levels = np.zeros_like(self.crowd.rewards)
        self._read_histories()

    def _read_histories(self) -> None:
        """Learn from what the users rated: a rating is worth what it is to the others."""
        known: dict[float, list[float]] = {}
        for row, user in enumerate(self.others.users):
            for item, rating in self.others.environment.history(user, _HISTORY):
                known.setdefault(rating, []).append(float(self.others.rewards[row, item]))
        worth = {rating: float(np.mean(rewards)) for rating, rewards in known.items()}
        noise = max(float(np.mean([np.var(rewards) for rewards in known.values()])), _LEAST_NOISE)
        for position, user in enumerate(self.crowd.users):
            for item, rating in self.crowd.environment.history(user, _HISTORY):
                row = np.r_[self.features[item], 0.0]
                above = worth.get(rating, self.means[item]) - self.means[item]
                self.precision[position] += np.outer(row, row) / noise
                self.moment[position] += row * above / noise

    def choose(self, visits: Visits) -> Items:
        """Return the items that should be the best now."""
        if visits.met:
            items, users = visits.met[-1], np.arange(len(self.crowd.users))
            row = np.column_stack([self.features[items], -self._levels[users, items]])
            above = visits.given[-1] - self.means[items]
            self.precision = self.precision + row[:, :, None] * row[:, None, :] / self.noise
            self.moment = self.moment + row * above[:, None] / self.noise
        self._levels = visits.levels()
        taste = np.linalg.solve(self.precision, self.moment[:, :, None])[:, :, 0]
        sated = np.maximum(taste[:, -1:], 0.0) * self._levels
        return visits.best(self.means + taste[:, :-1] @ self.features.T - sated)
