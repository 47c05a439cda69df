"""The metrics of a run, gathered by following it."""

from collections import Counter
from dataclasses import dataclass, field
from math import fsum, log2

import msgspec

from engine.messages import (
    ActionTaken,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    ModelReplied,
    RunEnded,
    UserResponded,
)
from storage.catalog import Catalog


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the episodes that did not fail.

    *len*: recommendations per episode, the last one included. *r_traj*: mean over episodes of the
    sum of true rewards. *r_each*: all rewards ÷ all steps. *coverage*: share of the catalog's
    categories met in an episode, mean. *entropy*: of the categories recommended in the run, in
    bits. *repeats*: share of steps with an item shown before in the episode. *distinct_items*: in
    the run. *quits*: episodes by why they ended. *unreadable*: replies outside their grammar;
    *fallbacks*: actions that were chosen because no reply could be read.
    """

    episodes: int
    failed: int
    steps: int
    len: float
    r_each: float
    r_traj: float
    coverage: float
    entropy: float
    repeats: float
    distinct_items: int
    quits: dict[str, int]
    groundings: dict[str, int]
    unreadable: int
    fallbacks: int


@dataclass
class _Visit:
    items: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    why: str = ""
    groundings: list[str] = field(default_factory=list)
    failed: bool = False
    again: int = 0


HEARD = (
    EpisodeStarted
    | ActionTaken
    | UserResponded
    | EpisodeEnded
    | EpisodeFailed
    | ModelReplied
    | RunEnded
)


@dataclass(eq=False)
class MetricsFollower:
    """Follows a run and says what came of it."""

    catalog: Catalog
    _visit: _Visit = field(default_factory=_Visit)
    _lengths: list[int] = field(default_factory=list)
    _rewards: list[float] = field(default_factory=list)
    _coverages: list[float] = field(default_factory=list)
    _categories: Counter[str] = field(default_factory=Counter)
    _items: set[int] = field(default_factory=set)
    _repeats: int = 0
    _quits: Counter[str] = field(default_factory=Counter)
    _groundings: Counter[str] = field(default_factory=Counter)
    _unreadable: int = 0
    _failed: int = 0

    def __call__(self, envelope: Envelope[object]) -> None:
        """Take note of a message."""
        visit = self._visit
        match envelope.message:
            case EpisodeStarted() | RunEnded():
                self._finish()
            case ActionTaken() as action:
                visit.items.append(action.item)
                visit.groundings.append(action.grounding)
            case UserResponded() as response:
                visit.rewards.append(response.reward)
                visit.why = response.reason or ""
            case EpisodeEnded() as ended:
                visit.why = visit.why if ended.reason == "quit" else "limit"
            case EpisodeFailed():
                visit.failed = True
            case ModelReplied() as reply:
                visit.again += reply.occurrence > 0

    def _finish(self) -> None:
        visit, self._visit = self._visit, _Visit()
        self._failed += visit.failed
        if visit.failed or not visit.rewards:
            return
        names = [name for item in visit.items for name in self.catalog.categories[item]]
        self._lengths.append(len(visit.rewards))
        self._rewards.append(fsum(visit.rewards))
        self._coverages.append(len(set(names)) / max(1, len(self.catalog.category_names)))
        self._categories.update(names)
        self._items.update(visit.items)
        self._repeats += len(visit.items) - len(set(visit.items))
        self._quits[visit.why] += 1
        self._groundings.update(visit.groundings)
        self._unreadable += visit.again

    def len_so_far(self) -> float:
        """Return Len of the episodes released so far."""
        return sum(self._lengths) / max(1, len(self._lengths))

    def result(self) -> Metrics:
        """Return the metrics of what was heard."""
        episodes, steps = len(self._lengths), sum(self._lengths)
        total = fsum(self._rewards)
        fallbacks = self._groundings["fallback"]
        return Metrics(
            episodes=episodes,
            failed=self._failed,
            steps=steps,
            len=_rounded(steps / max(1, episodes)),
            r_each=_rounded(total / max(1, steps)),
            r_traj=_rounded(total / max(1, episodes)),
            coverage=_rounded(fsum(self._coverages) / max(1, episodes)),
            entropy=_rounded(entropy(self._categories)),
            repeats=_rounded(self._repeats / max(1, steps)),
            distinct_items=len(self._items),
            quits=dict(sorted(self._quits.items())),
            groundings=dict(sorted(self._groundings.items())),
            unreadable=self._unreadable + fallbacks,
            fallbacks=fallbacks,
        )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def entropy(counts: Counter[str]) -> float:
    """Return the Shannon entropy of *counts* in bits."""
    total = counts.total()
    return fsum(-n / total * log2(n / total) for n in counts.values())
