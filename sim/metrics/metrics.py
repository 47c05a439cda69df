"""The metrics of a run, gathered by following it: those of its test, and of its training beside."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from math import fsum

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
    number,
)
from sim.metrics.bands import Band
from sim.metrics.diversity import (
    Unlikeness,
    dominating,
    domination,
    entropy,
    gini,
    novelty,
    unlikeness,
)
from sim.metrics.lifetimes import Lifetimes, Retention
from sim.metrics.tally import EpisodeTally, Tally
from storage.catalog import Catalog
from storage.factors import Factors


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a set of episodes; of those that *failed* nothing else is counted.

    *users*: different ones. *steps*: recommendations, the last of an episode included, whether or
    not its reward is known. *len*: of them per episode. *r_traj*: mean over episodes of the sum of
    true rewards. *r_each*: all rewards ÷ all steps whose reward is known.

    *coverage*: share of the catalog's categories met in an episode, mean. *entropy*: of the
    categories recommended, in bits. *distinct_items*: recommended at all; *items_coverage*: their
    share of the catalog (CV in DORL, arXiv 2307.04571). *mcd*: share of recommendations with a
    category that is `dominating`. *ild*: how unlike the items of an episode are (`unlikeness`),
    mean over episodes of at least two. *novelty*, *gini*: the functions of that name.
    *repeats_share*: share of recommendations of an item shown before in the episode.

    *quits*: episodes by why they ended. *by_step*: over time within the episode. *unreadable*:
    replies outside their grammar; *fallbacks*: actions that were chosen because no reply could be
    read.
    """

    episodes: int
    failed: int
    users: int
    steps: int
    len: float
    r_each: float
    r_traj: float
    coverage: float
    entropy: float
    repeats_share: float
    distinct_items: int
    items_coverage: float
    mcd: float
    ild: float
    novelty: float
    gini: float
    quits: dict[str, int]
    by_step: tuple[Band, ...]
    groundings: dict[str, int]
    unreadable: int
    fallbacks: int


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point of a learning curve: what a test after *trained* training episodes came to."""

    trained: int
    episodes: int
    len: float
    r_each: float
    r_traj: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of a run.

    *main* are those of its last test, and *train* those of its training; without a test *main* are
    those of all episodes. *curve* has a point for each test if there were several. *episodes*,
    *steps* and the sum of *rewards* are of the whole run, without episodes that failed.
    *retention* is of users with several sessions.
    """

    main: Metrics
    train: Metrics | None
    curve: tuple[CurvePoint, ...]
    episodes: int
    steps: int
    rewards: float
    retention: Retention | None = None


def metrics_of(tally: Tally, catalog: Catalog, dominant: frozenset[str]) -> Metrics:
    """Return the metrics of what was counted; *dominant* categories are those of MCD."""
    point = point_of(tally, 0)
    categories: Counter[str] = Counter()
    for item, count in tally.items.items():
        categories.update(dict.fromkeys(catalog.categories[item], count))
    fallbacks = tally.groundings["fallback"]
    return Metrics(
        episodes=point.episodes,
        failed=tally.failed,
        users=len(tally.users),
        steps=tally.steps,
        len=point.len,
        r_each=point.r_each,
        r_traj=point.r_traj,
        coverage=_mean(tally.coverages),
        entropy=number(entropy(categories)),
        repeats_share=_ratio(tally.repeats, tally.steps),
        distinct_items=len(tally.items),
        items_coverage=_ratio(len(tally.items), len(catalog)),
        mcd=number(domination(tally.items, catalog, dominant)),
        ild=_mean(tally.unlikenesses),
        novelty=number(novelty(tally.items, catalog)),
        gini=number(gini(tally.items, len(catalog))),
        quits=dict(sorted(tally.quits.items())),
        by_step=tally.bands.result(),
        groundings=dict(sorted(tally.groundings.items())),
        unreadable=tally.unreadable + fallbacks,
        fallbacks=fallbacks,
    )


def point_of(tally: Tally, trained: int) -> CurvePoint:
    """Return what matters most, of a test after *trained* episodes."""
    total, episodes = fsum(tally.rewards), len(tally.rewards)
    return CurvePoint(
        trained=trained,
        episodes=episodes,
        len=_ratio(tally.steps, episodes),
        r_each=_ratio(total, tally.rewarded),
        r_traj=_ratio(total, episodes),
    )


def _mean(values: list[float]) -> float:
    return _ratio(fsum(values), len(values))


def _ratio(part: float, whole: int) -> float:
    return number(part / max(1, whole))


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
    """Follows a run and says what came of it; *factors* say how unlike items are, if given.

    Where users have several *sessions* it says how they come back.
    """

    catalog: Catalog
    factors: Factors | None = None
    sessions: int = 1
    _visit: EpisodeTally = field(default_factory=EpisodeTally)
    _train: Tally = field(default_factory=Tally)
    _tests: list[tuple[int, Tally]] = field(default_factory=list)
    _trained: int = 0
    _tally: Tally = field(init=False)
    _lifetimes: Lifetimes | None = field(init=False)
    _unlike: Unlikeness = field(init=False)

    def __post_init__(self) -> None:
        self._tally = self._train
        self._unlike = unlikeness(self.catalog, self.factors)
        self._lifetimes = Lifetimes(self.sessions) if self.sessions > 1 else None

    def __call__(self, envelope: Envelope[object]) -> None:
        """Take note of a message."""
        self._note(envelope.message)
        if self._lifetimes is not None:
            self._lifetimes(envelope)

    def _note(self, message: object) -> None:
        visit = self._visit
        match message:  # the most frequent first
            case ModelReplied() as reply:
                visit.again += reply.occurrence > 0
            case ActionTaken() as action:
                visit.act(action)
            case UserResponded() as response:
                visit.respond(response)
            case EpisodeEnded() as ended:
                visit.end(ended)
            case EpisodeStarted() as started:
                self._finish()
                self._begin(started)
            case EpisodeFailed():
                visit.failed = True
            case RunEnded():
                self._finish()

    def _begin(self, started: EpisodeStarted) -> None:
        self._visit = EpisodeTally(started.user)
        if started.phase == "train":
            self._trained += 1
            self._tally = self._train
        elif self._tally is self._train:  # there is training between two tests
            self._tally = Tally()
            self._tests.append((self._trained, self._tally))

    def _finish(self) -> None:
        visit, self._visit = self._visit, EpisodeTally()
        if visit.failed:
            self._tally.failed += 1
        elif visit.items:
            self._tally.add(visit, self.catalog, self._unlike)

    def _tallies(self) -> list[Tally]:
        return [self._train, *(tally for _, tally in self._tests)]

    def so_far(self) -> CurvePoint:
        """Return where the episodes stand that are released, be they of training or of tests.

        Takes no longer the more there are, so its sums are not exact.
        """
        tallies = self._tallies()
        total = sum(tally.total for tally in tallies)
        steps = sum(tally.steps for tally in tallies)
        episodes = sum(len(tally.rewards) for tally in tallies)
        return CurvePoint(
            trained=self._trained,
            episodes=episodes,
            len=_ratio(steps, episodes),
            r_each=_ratio(total, sum(tally.rewarded for tally in tallies)),
            r_traj=_ratio(total, episodes),
        )

    def result(self) -> Metrics:
        """Return the main metrics of what was heard."""
        return self.measured().main

    def measured(self) -> Measured:
        """Return all metrics of what was heard."""
        dominant = dominating(self.catalog)
        tallies = self._tallies()
        train = metrics_of(self._train, self.catalog, dominant)
        rewards = list(chain.from_iterable(tally.rewards for tally in tallies))
        curve = tuple(point_of(tally, trained) for trained, tally in self._tests)
        return Measured(
            main=metrics_of(tallies[-1], self.catalog, dominant) if self._tests else train,
            train=train if self._tests else None,
            curve=curve if len(curve) > 1 else (),
            episodes=len(rewards),
            steps=sum(tally.steps for tally in tallies),
            rewards=fsum(rewards),
            retention=None if self._lifetimes is None else self._lifetimes.result(),
        )
