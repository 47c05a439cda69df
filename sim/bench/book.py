"""The book: figures in chapters, and when, where and of what they were measured."""

import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from engine.errors import ConfigError
from sim.bench.chapters import CHAPTERS
from sim.bench.children import Measurer, Sizes
from sim.bench.figures import Chapter
from sim.bench.processors import cores, far_read
from sim.bench.rivals import NAME as RIVALS
from sim.bench.rivals import rivals
from storage.provenance import Process, this_process

_PROCESSORS = Path("/proc/cpuinfo")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What it was measured on; *load* is how many processes wanted a processor before and after.

    Who shares a machine shares its caches, too: *reads* are the nanoseconds that a number takes,
    before and after, which no cache holds. Beside a busy neighbour, whom no load tells of, they are
    several times those of a quiet machine, and so is all that works with much memory.
    """

    processor: str
    cores: int
    load: tuple[float, float]
    reads: tuple[float, float]


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured, by which *process* of billp, on which *machine*."""

    process: Process
    machine: Machine
    chapters: tuple[Chapter, ...]


def measured(
    names: Sequence[str],
    told: Callable[[str], None],
    *,
    sizes: Sizes | None = None,
    against: bool = False,
) -> Book:
    """Measure the chapters of these *names*, or all, and *against* rivals if that is wanted.

    *told* hears what is measured next. Raises ConfigError for a name that no chapter has, and
    BillpError if something cannot be measured.
    """
    chosen = _chosen(names)
    process, before, reads = this_process(), _load(), far_read()
    with tempfile.TemporaryDirectory() as place:
        measurer = Measurer(Path(place), sizes or Sizes(), told)
        chapters = [CHAPTERS[name](measurer) for name in chosen]
        if against:
            chapters.append(rivals(measurer))
    machine = Machine(
        processor=_processor(),
        cores=cores(),
        load=(before, _load()),
        reads=(reads, far_read()),
    )
    return Book(process=process.over(), machine=machine, chapters=tuple(chapters))


def _chosen(names: Sequence[str]) -> Sequence[str]:
    for name in names:
        if name == RIVALS:
            raise ConfigError(f"there is no chapter {name!r}", hint="name it by --rivals")
        if name not in CHAPTERS:
            raise ConfigError(
                f"there is no chapter {name!r}", hint=f"there are {', '.join(CHAPTERS)}"
            )
    return [name for name in CHAPTERS if name in names or not names]


def _load() -> float:
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    """Return the processor's name, as far as the system tells one."""
    if _PROCESSORS.exists():
        for line in _PROCESSORS.read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
