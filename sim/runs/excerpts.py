"""Logs as an episode of a recorded run saw them."""

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
