"""What work costs: counted and timed by the process that does it."""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec

_STATUS = Path("/proc/self/status")


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What work came to: *count* of what it is counted in, such as steps or messages.

    It took *seconds* of processors, those of processes that it waited for included, and *wall*
    seconds; *peak* MB is the most memory that its process ever had. *told* is what else is known.
    """

    count: int
    seconds: float
    wall: float
    peak: float = 0.0
    told: dict[str, float] = {}  # msgspec gives each a copy of its own

    @property
    def each(self) -> float:
        """Seconds of processors for one."""
        return self.seconds / self.count

    @property
    def rate(self) -> float:
        """How many in a second of a processor."""
        return self.count / self.seconds


def processors() -> float:
    """Return the seconds that processors spent on this process, and on those that it waited for."""
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + others.ru_utime + others.ru_stime


def cost_of(work: Callable[[], int], **told: float) -> Cost:
    """Return what *work* costs, which returns the count of what it did."""
    watch = Stopwatch()
    return msgspec.structs.replace(watch.cost(work()), told=told)


@dataclass(frozen=True)
class Stopwatch:
    """Tells what was spent since it was made."""

    wall: float = field(default_factory=time.perf_counter)
    seconds: float = field(default_factory=processors)

    def cost(self, count: int) -> Cost:
        """Return the cost of so many since then."""
        seconds, wall = processors() - self.seconds, time.perf_counter() - self.wall
        return Cost(count=count, seconds=seconds, wall=wall, peak=peak())


def peak() -> float:
    """Return the most memory that this process ever had, in MB."""
    if _STATUS.exists():  # since this program began: getrusage tells of who started it, too
        return int(_STATUS.read_text("utf-8").split("VmHWM:")[1].split()[0]) / 1024
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def typical(costs: list[Cost]) -> Cost:
    """Return the median of *costs*, by seconds."""
    return sorted(costs, key=lambda cost: cost.seconds)[len(costs) // 2]


def times(subject: list[Cost], yardstick: list[Cost]) -> float:
    """Return how many times as much one of *subject* costs as one of *yardstick*.

    The median over rounds: what else the machine does meets both of a round alike.
    """
    return median(one.each / other.each for one, other in zip(subject, yardstick, strict=True))
