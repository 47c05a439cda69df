"""How many batches of calls a run needs that wait for each other, from the trace of a trial."""

from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from engine.messages import Envelope, EpisodeStarted, Message, ModelReplied
from sim.config.run import AT_ONCE, RunConfig
from storage.traces import read_trace

_Place: TypeAlias = tuple[int | None, int | None]
"""An episode, and the place of an envelope in it."""


def layout(config: RunConfig) -> tuple[list[int], list[range]]:
    """Return the numbers of the training episodes of a run, and those of each test."""
    training: list[int] = []
    tests: list[range] = []
    number = before = 0
    for after in config.tested_after:
        test = number + after - before
        training += range(number, test)
        number, before = test + config.test_episodes, after
        tests.append(range(test, number))
    return [*training, *range(number, config.visits)], tests


def together_in(config: RunConfig) -> bool:
    """Tell whether it is known beforehand which episodes arrive together."""
    return config.sessions == 1 and not config.arrivals.startswith("poisson")


def lots(config: RunConfig) -> int:
    """Return how many lots of episodes arrive one after the other, where that is known."""
    training, tests = layout(config)
    learning = config.test_memory == "learning"
    parts = [len(training)]
    if tests:  # what is trained before a test arrives before it
        starts = (0, *(visits.stop for visits in tests[:-1]))
        parts = [visits.start - start for start, visits in zip(starts, tests, strict=True)]
    tested = (_lots(config, len(visits), all_at_once=not learning) for visits in tests)
    return sum(tested) + sum(_lots(config, size) for size in parts)


def _lots(config: RunConfig, visits: int, *, all_at_once: bool = False) -> int:
    rule, _, size = config.arrivals.partition(":")
    most = visits if all_at_once or rule == "all" else int(size)
    return -(-visits // max(1, min(most, config.running or AT_ONCE)))


def needed_in(trace: Path, batched: Container[str]) -> list[int]:
    """Return how many batches each lot of episodes needs that arrived together."""
    deep = _Depths(batched)
    needed: dict[int, int] = {}
    arrivals: dict[int | None, int] = {}
    for envelope in read_trace(trace):
        if isinstance(envelope.message, EpisodeStarted):
            arrivals[envelope.episode] = envelope.message.arrival
        lot = arrivals.get(envelope.episode)
        if lot is not None:
            needed[lot] = max(needed.get(lot, 0), deep.reach(envelope))
    return [*needed.values()]


@dataclass(eq=False)
class _Depths:
    """How many replies of batches, one after the other, led to what is in a trace.

    Those to whatever caused it; and of replies beside it the earlier ones to the same role, which
    the same handler asked.
    """

    batched: Container[str]
    _reached: dict[_Place, int] = field(default_factory=dict)
    _latest: dict[_Place, tuple[str, int]] = field(default_factory=dict)

    def reach(self, envelope: Envelope[Message]) -> int:
        """Return how many led to a message, which comes after its cause; itself included."""
        message, cause = envelope.message, (envelope.episode, envelope.cause)
        depth = self._reached.get(cause, 0)
        role, latest = self._latest.get(cause, ("", depth))
        if isinstance(message, ModelReplied) and message.role in self.batched:
            latest = 1 + (latest if message.role == role else depth)
            self._latest[cause] = message.role, latest
        self._reached[envelope.episode, envelope.n] = latest
        return latest
