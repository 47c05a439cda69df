"""Interim."""
from dataclasses import dataclass
import numpy as np
from sim.world.quitting.quantile import QuantileSettings

@dataclass
class Stepped:
    rewards: object
    left: object
    truncated: object

class Crowd:
    def __init__(self, environment, config, users=None):
        self.environment, self.config = environment, config
        self.limit = config.limit
        self._rows = {}
    def begin(self, users, sessions=None):
        n = len(users)
        self.users = users.copy(); self.steps = np.zeros(n, np.int64); self.over = np.zeros(n, bool)
        self.shown = np.zeros((n, len(self.environment.catalog)), bool)
        self._items = np.full((n, self.limit), -1, np.int64); self._rewards = np.zeros((n, self.limit))
    def recent(self, k):
        at = self.steps[:, None] - k + np.arange(k)[None]
        ok = at >= 0
        at = np.maximum(at, 0)
        return np.where(ok, np.take_along_axis(self._items, at, 1), -1), np.where(ok, np.take_along_axis(self._rewards, at, 1), 0)
    def _row(self, u):
        if u not in self._rows:
            self._rows[u] = self.environment.factors.rewards(u)
        return self._rows[u]
    def step(self, items):
        n = len(items); f = self.environment.factors; q = self.config.quit
        live = ~self.over
        rewards = np.array([self._row(u)[i] for u, i in zip(self.users.tolist(), items.tolist())])
        recent, _ = self.recent(q.window)
        P = f.places.astype(np.int64); a = P[items]; b = P[np.maximum(recent, 0)]
        d = ((a[:, None] - b) ** 2).sum(2)
        near = ((d < f.beta_squared) & (recent >= 0)).any(1)
        low = np.array([f.quantile(u, q.quantile) for u in self.users.tolist()]) if isinstance(q, QuantileSettings) else q.lowest
        left = (near | (rewards < low)) & live
        rewards = np.where(live, rewards, 0.0)
        r = np.flatnonzero(live)
        self.shown[r, items[r]] = True
        self._items[r, self.steps[r]] = items[r]; self._rewards[r, self.steps[r]] = rewards[r]
        self.steps[r] += 1
        truncated = live & ~left & (self.steps >= self.limit)
        self.over |= left | truncated
        return Stepped(rewards, left, truncated)
    def restart(self, where, users):
        self.users[where] = users; self.steps[where] = 0; self.over[where] = False
        self.shown[where] = False; self._items[where] = -1; self._rewards[where] = 0
