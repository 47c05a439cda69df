"""summary.json: what came of a run."""

from typing import Any

import msgspec

from agents.models.access import Usage
from engine.messages import RunStarted
from sim.metrics import Metrics


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run.

    *seconds*, *utilization* (of the slots for calls in flight) and *live_calls* (those that were
    not recorded before) are of this process alone. *tokens* are as the service counted them, in
    both directions. *listeners* are the results of the user's own.
    """

    run: str
    digest: str
    agent: str
    model: str
    environment: str
    environment_digest: str
    seed: int
    repeats: str
    metrics: Metrics
    messages: int
    calls: int
    live_calls: int
    failed_calls: int
    tokens: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    utilization: float
    cached_calls: int = 0
    cost: float = 0.0
    listeners: dict[str, Any] = {}

    def flat(self) -> dict[str, Any]:
        """Return everything as one object, the metrics beside the rest."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        metrics = values.pop("metrics")
        head = {name: values.pop(name) for name in ("run", "digest")}
        return {**head, **metrics, **values}


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """What a process did for a run: messages, seconds, the share of slots in use, and replies.

    *cached* replies came from a cache; *cost* is by the prices that are set, with recorded calls.
    """

    messages: int
    seconds: float
    utilization: float
    cached: int
    cost: float


def summarise(
    head: RunStarted,
    *,
    run: str,
    environment: str,
    digest: str,
    metrics: Metrics,
    usage: Usage,
    effort: Effort,
    listeners: dict[str, Any],
) -> Summary:
    """Return the summary of a finished run."""
    return Summary(
        run=run,
        digest=digest,
        agent=head.agent,
        model=head.model,
        environment=environment,
        environment_digest=head.environment,
        seed=head.seed,
        repeats=str(dict(head.settings)["repeats"]),
        metrics=metrics,
        messages=effort.messages,
        calls=usage.calls,
        live_calls=usage.live,
        failed_calls=usage.failed,
        tokens=usage.tokens,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        seconds=round(effort.seconds, 3),
        utilization=round(effort.utilization, 4),
        cached_calls=effort.cached,
        cost=round(effort.cost, 6),
        listeners=listeners,
    )
