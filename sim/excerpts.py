"""Parts of runs: episodes in their encoded form up to a step, logs as an episode saw them."""

from dataclasses import dataclass
from typing import Any

from engine.records import Log, Record, View


@dataclass(frozen=True)
class Prefix:
    """The first records of a log: what an episode saw."""

    log: Log
    length: int

    def __len__(self) -> int:
        return self.length

    def append(self, record: Record[Any]) -> None:
        """Drop *record*: nobody comes after the episode."""

    def view(self, length: int) -> View[Any]:
        """Return a view of the log."""
        return self.log.view(length)


def episode_of(lines: bytes) -> int | None:
    """Return the number of the episode whose lines these are; None for the run's own."""
    number = lines[len(b'{"episode":') : lines.index(b",")]
    return None if number == b"null" else int(number)


def before_step(lines: bytes, step: int) -> bytes:
    """Return the lines that stand before the request for step *step*; all if there is none."""
    marker = lines.find(b'"message":{"type":"PlanRequested","step":%d}' % step)
    return lines if marker < 0 else lines[: lines.rfind(b"\n", 0, marker) + 1]
