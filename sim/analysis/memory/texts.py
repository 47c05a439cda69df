"""What records of a run's memories say, by their positions, wherever that is known from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agents.making import AgentMemory
from engine.errors import FileError
from sim.analysis.memory.recorded import settings_of
from sim.analysis.memory.saved import Saved
from sim.analysis.memory.told import Left, Told
from storage.memory import Memory
from storage.runs import RunDirectory


@dataclass(frozen=True)
class RecordedTexts:
    """Reads the memories that a run saved; of one that saved none what its trace tells of them."""

    directory: RunDirectory

    def __call__(self, memory: AgentMemory[Any], positions: Collection[int]) -> Mapping[int, str]:
        """Return what the records at *positions* say; of what is damaged or unknown nothing."""
        try:
            found = self._records(memory).at(positions)
        except FileError:
            return {}
        return {position: entry.says for position, entry in found.items()}

    def _records(self, memory: AgentMemory[Any]) -> Saved | Told:
        if self.directory.memory.exists():
            return Saved(self.directory.memory, memory)
        return Told(self._left, memory, self._settings)

    @cached_property
    def _left(self) -> Left:
        return Left(self.directory.trace)

    @cached_property
    def _settings(self) -> Any:
        return settings_of(self.directory)


@dataclass(frozen=True)
class HeldTexts:
    """Reads memories that are held here, by name."""

    memories: Mapping[str, Memory[Any]]

    def __call__(self, memory: AgentMemory[Any], positions: Collection[int]) -> Mapping[int, str]:
        """Return what the records at *positions* say."""
        log = self.memories[memory.name]
        return {position: memory.says(log[position].payload) for position in positions}
