"""A run underway as Prometheus scrapes it: http://127.0.0.1:9464/metrics, while it runs.

Names follow Prometheus' conventions: a unit, `_total` for what only grows. What a run has counted
stands in counters and histograms; how it is now is taken from its pulse when somebody asks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import anyio
import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, Info, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from engine.attempt import log
from sim.runs.pulse import Pulses
from sim.runs.watching import Underway
from sim.views.listening import listening
from sim.views.measures import LENGTHS, SECONDS, measure
from storage.journal import CallEnded

HOST = "127.0.0.1"
PORT = 9464
"""Where exporters of OpenTelemetry serve Prometheus by default, too."""

_GAUGES = {
    "total": ("billp_episodes_planned", "Episodes of the whole run."),
    "running": ("billp_episodes_running", "Episodes that are under way."),
    "in_flight": ("billp_model_calls_in_flight", "Calls that a model is answering."),
    "limit": ("billp_model_calls_limit", "Calls that may be in flight now."),
    "waiting": ("billp_model_calls_waiting", "Calls that wait for a slot."),
    "pausing": ("billp_model_calls_pausing", "Calls that wait until they are tried again."),
    "cost": ("billp_cost", "What the run has cost by the prices that are set."),
    "budget": ("billp_cost_budget", "The most that the run may cost."),
    "r_traj": ("billp_reward_per_episode", "R_traj of the episodes so far."),
    "len": ("billp_steps_per_episode", "Len of the episodes so far."),
    "seconds_left": ("billp_seconds_left", "Seconds that the run will take yet, as it goes."),
}


@dataclass(frozen=True, eq=False)
class Now:
    """The pulse as gauges; what nobody knows yet is left out."""

    pulses: Pulses

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge for all that is known now."""
        pulse: dict[str, float | None] = msgspec.structs.asdict(self.pulses.take())
        for field_name, (name, meaning) in _GAUGES.items():
            value = pulse[field_name]
            if value is not None:
                yield GaugeMetricFamily(name, meaning, value=value)


@dataclass(eq=False)
class PrometheusMeters:
    """Counters and histograms in a *registry* of their own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        of = self.registry
        self.info = Info("billp_run", "What runs.", registry=of)
        self._steps = Counter("billp_steps", "Recommendations answered.", registry=of)
        self._quits = Counter("billp_quits", "Users who left, by why.", ["reason"], registry=of)
        self._episodes = Counter("billp_episodes", "Episodes over.", ["outcome"], registry=of)
        self._length = Histogram(
            "billp_episode_steps", "Steps of an episode.", registry=of, buckets=LENGTHS
        )
        self._calls = Counter("billp_model_calls", "Calls ended.", ["role", "outcome"], registry=of)
        self._seconds = Histogram(
            "billp_model_call_seconds", "Calls.", ["role"], registry=of, buckets=SECONDS
        )
        self._tokens = Counter(
            "billp_model_tokens", "Tokens of calls.", ["role", "direction"], registry=of
        )

    def step(self, reason: str | None) -> None:
        """Count a step, and why the user left after it."""
        self._steps.inc()
        if reason is not None:
            self._quits.labels(reason).inc()

    def episode(self, outcome: str, length: int, reward: float) -> None:
        """Count an episode; of one that failed nothing else."""
        self._episodes.labels(outcome).inc()
        if outcome != "failed":
            self._length.observe(length)

    def call(self, role: str, ended: CallEnded) -> None:
        """Count a call."""
        self._calls.labels(role, ended.error or "ok").inc()
        self._seconds.labels(role).observe(ended.latency)
        self._tokens.labels(role, "prompt").inc(ended.prompt_tokens)
        self._tokens.labels(role, "completion").inc(ended.completion_tokens)


@dataclass(eq=False)
class PrometheusView:
    """Serves a run's figures at a *port* of this machine while it runs; 0 is a free one."""

    port: int = PORT
    address: str = field(default="", init=False)
    _meters: PrometheusMeters = field(default_factory=PrometheusMeters)

    def attach(self, underway: Underway) -> None:
        """Listen to what is counted."""
        names = ("environment", "agent", "model", "seed")
        told = dict(zip(names, map(str, underway.config.named()), strict=True))
        self._meters.info.info(told | {"run": str(underway.directory.path)})
        self._meters.registry.register(Now(Pulses(underway)))
        measure(underway, self._meters)

    async def show(self) -> None:
        """Serve until the run is over; raises ConfigError if the port is taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        async with listening(app, HOST, self.port, free="--prometheus-port 0") as address:
            self.address = f"{address}/metrics"
            log("info", "metrics served", address=self.address)
            await anyio.sleep_forever()

    async def _answer(self, _: web.Request) -> web.Response:
        body = generate_latest(self._meters.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
