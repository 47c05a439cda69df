"""A run as OpenTelemetry spans: a trace for each episode, its steps, and the calls in them.

The run itself is a span, made in the end, with what access to models took.

Calls follow the semantic conventions of generative AI (gen_ai.*); metrics are beside them. Where
both go is said by the standard environment variables (OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER,
OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME and so on; see `sim.views.exporting`).
Prompts and replies stay at home: they are in the run directory. The spans of an episode are made
when it is over: listeners hear a little late, and a call may have ended before its step is heard.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from agents.models.model import ChatRequest
from agents.models.providers import EMBEDDED
from engine.listeners import Live
from engine.messages import (
    ActionTaken,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    PlanRequested,
    UserResponded,
)
from engine.text import visible
from sim.runs.watching import Underway
from sim.views.exporting import Exporting, exporting
from sim.views.measures import LENGTHS, SECONDS, measure
from storage.journal import CallEnded

_NANO = 1_000_000_000
_CAPACITY = 1_000_000

Attributes = dict[str, Any]


@dataclass(eq=False)
class TelemetryMeters:
    """Instruments of a *provider*; those of calls are named as the conventions say."""

    provider: MeterProvider
    service: str
    models: Callable[[str], str]

    def __post_init__(self) -> None:
        meter = self.provider.get_meter("billp")
        self._steps = meter.create_counter("billp.steps", "{step}", "Recommendations answered.")
        self._quits = meter.create_counter("billp.quits", "{user}", "Users who left, by why.")
        self._episodes = meter.create_counter("billp.episodes", "{episode}", "Episodes over.")
        self._length = meter.create_histogram(
            *("billp.episode.steps", "{step}", "Steps of an episode."),
            explicit_bucket_boundaries_advisory=LENGTHS,
        )
        self._reward = meter.create_histogram(
            "billp.episode.reward", "1", "Sum of an episode's rewards."
        )
        self._seconds = meter.create_histogram(
            *("gen_ai.client.operation.duration", "s", "Calls."),
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens of a call."
        )

    def step(self, reason: str | None) -> None:
        """Count a step, and why the user left after it."""
        self._steps.add(1)
        if reason is not None:
            self._quits.add(1, {"billp.reason": reason})

    def episode(self, outcome: str, length: int, reward: float) -> None:
        """Count an episode; of one that failed nothing else."""
        self._episodes.add(1, {"billp.outcome": outcome})
        if outcome != "failed":
            self._length.record(length)
            self._reward.record(reward)

    def call(self, role: str, ended: CallEnded) -> None:
        """Count a call."""
        told = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self.service,
            "gen_ai.request.model": self.models(role),
            "gen_ai.agent.name": role,
        }
        failed = {} if ended.error is None else {"error.type": ended.error}
        self._seconds.record(ended.latency, told | failed)
        self._tokens.record(ended.prompt_tokens, told | {"gen_ai.token.type": "input"})
        self._tokens.record(ended.completion_tokens, told | {"gen_ai.token.type": "output"})


@dataclass
class Stretch:
    """A span to be made: what is known of it; times are in nanoseconds of real time."""

    begins: int = field(default_factory=time.time_ns)
    ends: int = 0
    attributes: Attributes = field(default_factory=dict)
    error: str = ""

    def make(self, tracer: Tracer, name: str, above: Span | None, kind: SpanKind) -> Span:
        """Return the span, which ends later."""
        context = Context() if above is None else set_span_in_context(above, Context())
        known = {
            name: visible(value) if isinstance(value, str) else value
            for name, value in self.attributes.items()
            if value is not None
        }
        span = tracer.start_span(
            visible(name), context, kind=kind, attributes=known, start_time=self.begins
        )
        if self.error:
            span.set_status(Status(StatusCode.ERROR, visible(self.error)))
        return span


@dataclass
class EpisodeSpan:
    """An episode so far: the whole, its steps, and its calls with their steps."""

    whole: Stretch = field(default_factory=Stretch)
    steps: dict[int, Stretch] = field(default_factory=lambda: defaultdict(Stretch))
    calls: list[tuple[int, Stretch]] = field(default_factory=list)

    def make(self, tracer: Tracer) -> None:
        """Make all spans."""
        self.whole.begins = min([self.whole.begins, *(call.begins for _, call in self.calls)])
        self.whole.ends = time.time_ns()
        above = self.whole.make(tracer, "episode", None, SpanKind.INTERNAL)
        for number, call in self.calls:
            if number in self.steps:
                self.steps[number].begins = min(self.steps[number].begins, call.begins)
        spans = {}
        for number, step in self.steps.items():
            spans[number] = step.make(tracer, "step", above, SpanKind.INTERNAL)
            spans[number].end(step.ends or self.whole.ends)
        for number, call in self.calls:
            name = f"chat {call.attributes['gen_ai.request.model']}"
            call.make(tracer, name, spans.get(number, above), SpanKind.CLIENT).end(call.ends)
        above.end(self.whole.ends)


@dataclass(eq=False)
class TelemetryView:
    """Makes spans and metrics of what happens live, in real time."""

    to: Exporting = field(default_factory=exporting)
    _run: Attributes = field(default_factory=dict)
    _service: str = ""
    _whole: Stretch = field(default_factory=Stretch)
    _underway: Underway = field(init=False)
    _visits: dict[int, EpisodeSpan] = field(default_factory=lambda: defaultdict(EpisodeSpan))

    def attach(self, underway: Underway) -> None:
        """Listen to episodes and steps, and to the calls as they end."""
        self._underway, self._whole = underway, Stretch()
        config, bus = underway.config, underway.assembly.bus
        self._service = "billp" if config.model == EMBEDDED else "openai"
        self._run = {
            "billp.run": str(underway.directory.path),
            "billp.agent": config.agent,
            "billp.environment": config.environment,
            "billp.seed": config.seed,
        }
        whole = EpisodeStarted | EpisodeEnded | EpisodeSettled | EpisodeFailed
        heard = whole | PlanRequested | ActionTaken | UserResponded
        bus.listen(heard, self._hear, capacity=_CAPACITY)
        underway.access.witnesses.append(self._call)
        if self.to.metrics is not None:
            meters = TelemetryMeters(self.to.metrics, self._service, config.model_of)
            measure(underway, meters)

    async def show(self) -> None:
        """Wait until the run is over; then end what was left open, and send everything."""
        try:
            await anyio.sleep_forever()
        finally:
            for number in [*self._visits]:
                self._over(number, "the run stopped")
            self._make_run()
            self.to.close()

    def _hear(self, live: Live[Any]) -> None:
        if live.episode is None:
            return
        match live.message:
            case EpisodeSettled():
                self._over(live.episode)
            case EpisodeFailed() as failed:
                self._over(live.episode, failed.why)
            case message:
                _note(self._visits[live.episode], message)

    def _make_run(self) -> None:
        if self.to.traces is None:
            return
        tracer, whole = self.to.traces.get_tracer("billp"), self._whole
        whole.attributes = {**self._run, **_took(self._underway)}
        whole.make(tracer, "run", None, SpanKind.INTERNAL).end(time.time_ns())

    def _over(self, number: int, error: str = "") -> None:
        visit = self._visits.pop(number)
        visit.whole.attributes |= {**self._run, "billp.episode": number}
        visit.whole.error = error
        if self.to.traces is not None:
            visit.make(self.to.traces.get_tracer("billp"))

    def _call(self, request: ChatRequest, ended: CallEnded) -> None:
        now = time.time_ns()
        stretch = Stretch(
            begins=now - round(ended.latency * _NANO),
            ends=now,
            attributes=_said(request, ended, self._service),
            error=ended.error or "",
        )
        self._visits[request.call.episode].calls.append((request.call.step, stretch))


def _note(visit: EpisodeSpan, message: object) -> None:
    whole = visit.whole.attributes
    match message:
        case EpisodeStarted():
            whole |= {"billp.user": message.user, "billp.session": message.session}
        case PlanRequested():
            visit.steps[message.step].attributes["billp.step"] = message.step
        case ActionTaken():
            taken = {"billp.item": message.item, "billp.grounding": message.grounding}
            visit.steps[message.step].attributes |= taken
        case UserResponded():
            response = {"billp.reward": message.reward, "billp.left": message.left}
            visit.steps[message.step].attributes |= response
            visit.steps[message.step].ends = time.time_ns()
        case EpisodeEnded():
            whole |= {"billp.length": message.length, "billp.reward": message.reward}


def _took(underway: Underway) -> Attributes:
    toll, usage = underway.toll(), underway.access.usage
    return {
        "billp.calls": usage.calls,
        "billp.calls.cached_tokens": usage.cached_tokens,
        "billp.attempts": toll.attempts,
        **{f"billp.attempts.failed.{kind}": count for kind, count in toll.failed.items()},
        "billp.retries": toll.retries,
        "billp.wait": toll.wait_seconds,
        "billp.pause": toll.pause_seconds,
        "billp.limit.concurrency": toll.concurrency,
        "billp.limit.requests_per_minute": toll.requests_per_minute,
        "billp.limit.tokens_per_minute": toll.tokens_per_minute,
    }


def _said(request: ChatRequest, ended: CallEnded, service: str) -> Attributes:
    call, sampling = request.call, request.sampling
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": service,
        "gen_ai.agent.name": call.role,
        "gen_ai.conversation.id": f"{call.user}/{call.session}",
        "gen_ai.request.model": sampling.model,
        "gen_ai.request.seed": request.seed,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.usage.input_tokens": ended.prompt_tokens,
        "gen_ai.usage.output_tokens": ended.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": ended.cached_tokens or None,
        "gen_ai.usage.cache_creation.input_tokens": ended.written_tokens or None,
        "gen_ai.response.finish_reasons": [ended.finish] if ended.finish else None,
        "error.type": ended.error,
        "billp.occurrence": call.occurrence,
        "billp.attempts": ended.attempts,
        "billp.wait": ended.wait,
    }
