"""The records of a finished run, read one by one: of a file only where its lines begin is held."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from engine.errors import FileError
from sim.analysis.memory.saved import Saved
from storage.memory import read_record
from storage.reading import lines_of, open_regular


@dataclass(frozen=True)
class Records:
    """The records of the memories that were *saved*, by name; others are not known."""

    saved: dict[str, Saved]
    _logs: dict[str, "_Log"] = field(default_factory=dict, compare=False)

    def at(self, memory: str, position: int) -> Any:
        """Return the record of *memory* at *position*, None if it was not saved.

        Raises FileError for damage.
        """
        if memory not in self.saved:
            return None
        log = self._logs.setdefault(memory, _Log(self.saved[memory]))
        return log.at(position)


@dataclass(frozen=True)
class _Log:
    saved: Saved

    def at(self, position: int) -> Any:
        path = self.saved.directory / f"{self.saved.name.name}.jsonl"
        try:
            with open_regular(path) as file:
                if not 0 <= position < min(len(self._begins), len(self.saved)):
                    raise FileError(f"{path}: holds no record {position}")
                file.seek(self._begins[position])
                line = next(lines_of(file), b"")
        except OSError as error:
            raise FileError(f"{path}: cannot be read: {error.strerror}") from error
        decoder = msgspec.json.Decoder(self.saved.name.payload)
        return read_record(path, position, line, self.saved.keys[position], decoder)[1]

    @cached_property
    def _begins(self) -> Sequence[int]:
        path = self.saved.directory / f"{self.saved.name.name}.jsonl"
        place, begins = 0, array("q")
        with open_regular(path) as file:
            for line in lines_of(file):
                begins.append(place)
                place += len(line)
        return begins
