"""A run in the log: a line for each event that matters, and for each call if debugging."""

import time
from dataclasses import dataclass, field
from functools import partial

import anyio
import structlog

from agents.models.model import ChatRequest
from engine.listeners import Live
from engine.messages import EpisodeEnded, EpisodeFailed, EpisodeStarted, RunEnded
from sim.runs.watching import Underway
from storage.journal import CallEnded

_ENDED = ("length", "reward", "reason")


@dataclass(eq=False)
class LogView:
    """Logs beginning and end of the run and of its episodes; with *calls*, every model call."""

    calls: bool = False
    _began: float = field(init=False)
    _underway: Underway = field(init=False)

    def attach(self, underway: Underway) -> None:
        """Log that the run begins, and what happens in it from now on."""
        self._underway, self._began = underway, time.monotonic()
        bus, config = underway.assembly.bus, underway.config
        bus.listen(EpisodeStarted, partial(_say, "episode started", names=("user", "session")))
        bus.listen(EpisodeEnded, partial(_say, "episode ended", names=_ENDED))
        bus.listen(EpisodeFailed, partial(_say, "episode failed", names=("why",)))
        bus.listen(RunEnded, self._ended)
        if self.calls:
            underway.access.witnesses.append(_say_call)
        structlog.get_logger().info(
            "run started",
            path=str(underway.directory.path),
            environment=config.environment,
            agent=config.agent,
            model=config.model,
            seed=config.seed,
            episodes=config.visits,
        )

    def _ended(self, live: Live[RunEnded]) -> None:
        usage, toll = self._underway.access.usage, self._underway.toll()
        structlog.get_logger().info(
            "run ended",
            path=str(self._underway.directory.path),
            episodes=live.message.episodes,
            failed=live.message.failed,
            calls=usage.calls,
            live_calls=usage.live,
            failed_attempts=toll.failures,
            retries=toll.retries,
            tokens=usage.tokens,
            seconds=round(time.monotonic() - self._began, 3),
        )

    async def show(self) -> None:
        """Do nothing, for ever: what happens is logged as it happens."""
        await anyio.sleep_forever()


def _say(event: str, live: Live[object], *, names: tuple[str, ...]) -> None:
    facts = {name: getattr(live.message, name) for name in names}
    structlog.get_logger().info(event, episode=live.episode, **facts)


def _say_call(request: ChatRequest, ended: CallEnded) -> None:
    structlog.get_logger().debug(
        "call ended",
        episode=request.call.episode,
        step=ended.step,
        role=ended.role,
        occurrence=ended.occurrence,
        model=request.sampling.model,
        error=ended.error,
        attempts=ended.attempts,
        latency=ended.latency,
        wait=ended.wait,
        tokens=ended.prompt_tokens + ended.completion_tokens,
    )
