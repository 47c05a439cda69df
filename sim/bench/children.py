"""Jobs, each in a process of its own, so that nothing is warm by accident."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import TypeAlias

import msgspec

from engine.errors import BillpError
from sim.bench.cost import Cost, typical

Value: TypeAlias = str | int | float | bool
_START = "from sim.bench.children import child; child()"
_LONGEST = 300  # characters of what a process says


@dataclass(frozen=True)
class Job:
    """A function that tells its cost, by its *place*, `module:function`, and what it is given."""

    place: str
    given: tuple[tuple[str, Value], ...] = ()

    @property
    def name(self) -> str:
        """The function's name."""
        return self.place.partition(":")[2]


def job(module: str, function: str, **given: Value) -> Job:
    """Return the job that is a *function* of a *module* in `sim.bench.jobs`."""
    return Job(f"sim.bench.jobs.{module}:{function}", (*sorted(given.items()),))


def in_child(what: Job) -> Cost:
    """Return what a job costs in a process of its own; raises BillpError if it fails."""
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)
    given = msgspec.json.encode(dict(what.given)).decode()
    done = subprocess.run(
        [sys.executable, "-P", "-c", _START, what.place, given],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    if done.returncode:
        raise BillpError(f"{what.name} could not be measured: {last_line(done)}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Cost)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a process had to say when it failed, or how it ended."""
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return lines[-1] if len(lines[-1]) <= _LONGEST else f"{lines[-1][:_LONGEST]}…"


def child() -> None:
    """Do the job that the command line names, and tell what it cost as the last line."""
    place, given = sys.argv[1:]
    work: Callable[..., Cost] = resolve_name(place)
    settings: Mapping[str, Value] = msgspec.json.decode(given)
    sys.stdout.write(msgspec.json.encode(work(**settings)).decode() + "\n")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured: *episodes* of runs, of *many* once, of others to fit what they cost.

    *messages* go through queues, *calls* to models; over HTTP there are *in_flight* at once.
    """

    rounds: int = 3
    episodes: int = 1_000
    many: tuple[int, ...] = ()
    all_episodes: tuple[int, ...] = (100, 316, 1_000, 3_162, 10_000)
    batches_episodes: tuple[int, ...] = (100, 316, 1_000)
    messages: int = 50_000
    calls: int = 10_000
    in_flight: int = 1_000


LONG = Sizes(
    many=(10_000,),
    all_episodes=(100, 316, 1_000, 3_162, 10_000, 31_623, 100_000),
    batches_episodes=(100, 316, 1_000, 3_162, 10_000),
)
"""Sizes for whoever has half an hour."""


def _silent(_: str) -> None:
    """Say nothing of a job that begins."""


@dataclass(eq=False)
class Measurer:
    """Measures jobs of given *sizes*; *told* hears which one begins. Runs go to *scratch*."""

    scratch: Path
    sizes: Sizes = field(default_factory=Sizes)
    told: Callable[[str], None] = _silent
    _known: dict[Job, list[Cost]] = field(default_factory=dict)

    def turns(self, *jobs: Job, rounds: int = 0) -> list[list[Cost]]:
        """Return the costs of each job, measured in turns for so many *rounds*."""
        rows = [[self._measured(one) for one in jobs] for _ in range(rounds or self.sizes.rounds)]
        return [list(costs) for costs in zip(*rows, strict=True)]

    def once(self, what: Job) -> Cost:
        """Return the typical cost of a job that was measured before, or what it costs now."""
        return typical(self._known.get(what) or [self._measured(what)])

    def _measured(self, what: Job) -> Cost:
        self.told(" ".join([what.name, *(f"{name}={value}" for name, value in what.given)]))
        cost = in_child(what)
        self._known.setdefault(what, []).append(cost)
        return cost
