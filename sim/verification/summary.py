"""summary.json against the trace: what can be reckoned again is, by the functions of the run."""

from dataclasses import dataclass, field
from math import isclose
from typing import Any, cast

import msgspec
import numpy as np

from agents.models.access import Usage
from agents.models.guards.budget import Allowances, Tokens, tokens_of
from agents.models.remote.vectors import ROLE as EMBEDDING
from engine.errors import RunDirectoryError, TraceError
from engine.messages import Envelope, Message, RunStarted
from sim.config.run import RunConfig
from sim.metrics.failures import Failure
from sim.metrics.metrics import HEARD, Measured, MetricsFollower
from sim.metrics.own import Found
from sim.metrics.summary import Effort, summarise
from storage.catalog import Catalog
from storage.environments import Environment
from storage.journal import CallEnded
from storage.runs import RunDirectory
from storage.vectors import VectorEntry

OF_THE_PROCESS = (
    *("run", "seconds", "utilization", "live_calls", "cached_calls"),
    *("access", "listeners", "provenance"),
)
"""What nothing in the directory explains."""

_OF_SOME = ("weights", "certificate", "dropped", "missed")
"""The same, of runs whose models are files, or were probed, or in which somebody heard not all."""

_OF_THE_RUN = (
    *("digest", "agent", "model", "environment_digest", "seed", "repeats", "messages", "cost"),
    *("calls", "failed_calls", "refused_calls", "tokens", "prompt_tokens", "completion_tokens"),
    *("cached_tokens", "written_tokens", "reasoning_tokens"),
    *("failed_episodes", "failures"),
)
"""What can be told without the environment."""

_NO_ITEMS = Catalog((), (), np.zeros(0, np.int64))
_COSTS = frozenset({"cost", "cost_per_episode", "cost_per_reward"})
_NONSENSE = (ArithmeticError, LookupError, ValueError)  # what a trace that is none may lead to
_SHOWN = 3
_WIDTH = 60


@dataclass(eq=False)
class Metering:
    """Hears a trace as the run's metrics do; *broken* says that it cannot be measured."""

    metrics: MetricsFollower
    broken: bool = False

    def __call__(self, envelope: Envelope[Message]) -> None:
        """Take note of a message."""
        if self.broken or not isinstance(envelope.message, HEARD):
            return
        try:
            self.metrics(cast("Envelope[object]", envelope))
        except _NONSENSE:
            self.broken = True

    def measured(self) -> Measured | None:
        """Return the metrics, None if there are none."""
        try:
            return None if self.broken else self.metrics.measured()
        except _NONSENSE:
            return None


@dataclass(eq=False)
class Spending:
    """What the calls of a journal and the vectors cost, as the run reckons it."""

    config: RunConfig
    cost: float = 0.0
    allowances: Allowances = field(init=False)

    def __post_init__(self) -> None:
        self.allowances = Allowances(prices=self.config.prices, tiers=self.config.tiers)

    def call(self, ended: CallEnded) -> None:
        """Take a call: what was not asked, but inherited, cached or said, is free."""
        if ended.attempts and ended.role in self.config.roles:
            model = self.config.model_of(ended.role)
            self._take(model, ended.role, tokens_of(ended))

    def vector(self, entry: VectorEntry) -> None:
        """Take a vector."""
        if entry.attempts:
            self._take(self.config.embedding_model, EMBEDDING, Tokens(entry.tokens, 0))

    def _take(self, model: str, role: str, tokens: Tokens) -> None:
        price = self.allowances.price(model, role)
        if price is not None:
            self.cost += tokens.cost(price)


@dataclass(frozen=True, kw_only=True)
class Reckoned:
    """What a run's files say that its summary must say; *environment* if it is at hand."""

    head: RunStarted
    digest: str
    usage: Usage
    messages: int
    cost: float
    environment: Environment | None
    measured: Measured | None
    failures: tuple[Failure, ...]
    own_metrics: dict[str, Found]


def check_summary(directory: RunDirectory, reckoned: Reckoned) -> str:
    """Compare summary.json, and say how much was; raises RunDirectoryError."""
    told = directory.read_summary()
    expected = _expected(reckoned)
    beside = {*OF_THE_PROCESS, *_OF_SOME, *_all_names(reckoned)}
    strange = sorted(told.keys() - expected.keys() - beside)
    if strange:
        raise RunDirectoryError(f"{directory.summary}: tells of {strange[0]!r}, which no run has")
    faults = [
        f"{name} is {_shown(value)}, told {_shown(told[name])}"
        for name, value in expected.items()
        if name in told and not _same(name, value, told[name])
    ]
    if faults:
        more = f"; and so on: {len(faults)} in all" if len(faults) > _SHOWN else ""
        raise RunDirectoryError(f"{directory.summary}: {'; '.join(faults[:_SHOWN])}{more}")
    lacking = [name for name in expected if name not in told]
    compared = f"{len(expected) - len(lacking)} fields reckoned again"
    return compared + (f"; not told: {', '.join(lacking)}" if lacking else "")


def _expected(reckoned: Reckoned) -> dict[str, Any]:
    """Return what the summary must say, as it is read from JSON."""
    flat = _flat(reckoned, reckoned.measured)
    if reckoned.environment is None or reckoned.measured is None:
        return {name: flat[name] for name in _OF_THE_RUN}
    return {name: value for name, value in flat.items() if name not in OF_THE_PROCESS}


def _flat(reckoned: Reckoned, measured: Measured | None) -> dict[str, Any]:
    environment, needed = reckoned.environment, {"repeats", "test_memory"}
    if not needed <= {name for name, _ in reckoned.head.settings}:
        raise TraceError(f"the head of the trace lacks one of the settings {sorted(needed)}")
    summary = summarise(
        reckoned.head,
        run="",
        environment=environment.head.name if environment else "",
        digest=reckoned.digest,
        measured=measured or MetricsFollower(_NO_ITEMS).measured(),
        usage=reckoned.usage,
        effort=Effort(
            messages=reckoned.messages, seconds=0, utilization=0, cached=0, cost=reckoned.cost
        ),
        failures=reckoned.failures,
        listeners={},
    )
    summary = msgspec.structs.replace(summary, own_metrics=reckoned.own_metrics)
    flat: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(summary.flat()))
    return flat


def _all_names(reckoned: Reckoned) -> set[str]:
    """Return all that a summary may tell of where nothing could be measured."""
    if reckoned.environment is not None and reckoned.measured is not None:
        return set()
    return {*_flat(reckoned, None), "train", "test_memory", "curve", "own_metrics", "retention"}


def _same(name: str, one: Any, other: Any) -> bool:
    if name in _COSTS and isinstance(one, float) and isinstance(other, float):
        # Sums in another order may differ in their last digits.
        return isclose(one, other, rel_tol=1e-5, abs_tol=2e-6)
    return msgspec.json.encode(one) == msgspec.json.encode(other)


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"
