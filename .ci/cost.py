"""Hold what fixed jobs cost against .ci/cost.json: `python .ci/cost.py`, or `--renew` to write it.

Instructions are counted (perf, or valgrind), for they are the same however busy a machine is; where
neither can, processor time is taken, by which only large losses are told from noise. Each job is
done twice, a little and more of it: of the difference start and imports are no part. It is told in
loops of plain Python, counted alike, so that how this Python was built matters less.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name

Counts = dict[tuple[str, int], float]
"""What a job of a size came to, in whatever was counted."""

Costs = Mapping[str, float]
"""What one more of each job costs, in loops."""

BASELINE = Path(__file__).with_name("cost.json")
LOOP = "loop"
ROUNDS = 3  # of which the least counts, where time is taken

_STILL = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Job:
    """What is done, a *little* and *more* of it: so many episodes, calls or loops."""

    little: int
    more: int
    work: Callable[[int], object]


def loop(count: int) -> None:
    """Do what Python does all the time, so often."""
    table: dict[int, int] = {}
    for number in range(count):
        place = number & 255
        table[place] = table.get(place, 0) + number


def jobs() -> dict[str, Job]:
    """Return the jobs by name; the world is open, as what opens it does not bear to be forked."""
    runs, calls = "sim.bench.jobs.runs:", "sim.bench.jobs.calls:"
    world = resolve_name("storage.datasets:open_environment")("synthetic")
    embedded = partial(resolve_name(f"{runs}embedded"), world=world)
    return {
        LOOP: Job(1_000, 101_000, loop),
        "kernel": Job(10, 60, partial(resolve_name(f"{runs}alone"), world=world)),
        "all": Job(4, 14, partial(embedded, arrivals="all")),
        # A little of it is more than a batch: what recalls is imported and made then.
        "batches": Job(11, 14, partial(embedded, arrivals="batches:10")),
        "chain": Job(100, 500, resolve_name(f"{calls}through_access")),
    }


def forked(rounds: int) -> list[tuple[str, int, int, float]]:
    """Do all jobs, each in a process that is forked from this one when it is warm.

    Return of each its name, its size, its process, and the seconds that it took.
    """
    known = jobs()
    for job in known.values():
        job.work(job.little)
    done = []
    for _ in range(rounds):
        for name, job in known.items():
            for size in (job.little, job.more):
                if (process := os.fork()) == 0:
                    job.work(size)
                    os._exit(0)
                _, status, used = os.wait4(process, 0)
                if status:
                    sys.exit(f"{name} ended with status {status}")
                done.append((name, size, process, used.ru_utime + used.ru_stime))
    return done


def _asked(*words: str, by: Iterable[str] = ()) -> str:
    """Return what this program says to *words* in a process of its own, begun *by* another."""
    # Python warns of forks where there are threads: none of ours is asked again after them.
    command = [*by, sys.executable, "-W", "ignore::DeprecationWarning", __file__, *words]
    return subprocess.run(
        command, env={**os.environ, **_STILL}, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def by_valgrind(place: Path) -> Counts:
    """Count the instructions of processes that valgrind runs, a twentieth as fast as else."""
    files = f"--cachegrind-out-file={place}/%p"
    by = ("valgrind", "--tool=cachegrind", "--cache-sim=no", files, f"--log-file={place}/%p.log")
    return {
        (name, size): _summary(place / str(process))
        for name, size, process, _ in json.loads(_asked("--forked", "1", by=by))
    }


def _summary(path: Path) -> float:
    """Return the instructions of a process, from what cachegrind wrote when it ended."""
    (line,) = (one for one in path.read_text().splitlines() if one.startswith("summary:"))
    return float(line.split()[1])


def by_perf(place: Path) -> Counts:
    """Count the instructions of processes by the processor's own counters."""
    counts: Counts = {}
    for name, job in jobs().items():
        for size in (job.little, job.more):
            _asked("--one", name, str(size), by=(*_PERF, "-o", str(place / "perf")))
            counts[name, size] = float(instructions((place / "perf").read_text()) or 0)
    return counts


def instructions(said: str) -> int | None:
    """Return the instructions that perf tells; None if it cannot count any."""
    for line in said.splitlines():
        count, *_ = line.split(",")
        if "instructions" in line and count.isdecimal():
            return int(count)
    return None


def by_time(_: Path) -> Counts:
    """Take the least processor time of some rounds."""
    counts: Counts = {}
    for name, size, _, seconds in json.loads(_asked("--forked", str(ROUNDS))):
        counts[name, size] = min(seconds, counts.get((name, size), seconds))
    return counts


_PERF = ("perf", "stat", "-x,", "-e", "instructions:u")


def _perf_counts() -> bool:
    """Tell whether perf counts here: within many virtual machines it cannot."""
    if shutil.which("perf") is None:
        return False
    tried = subprocess.run([*_PERF, "true"], capture_output=True, text=True, check=False)
    return instructions(tried.stderr) is not None


@dataclass(frozen=True)
class Counter:
    """A way to count, whether it is *at_hand*, and the share by which a loss is none yet."""

    counts: Callable[[Path], Counts]
    at_hand: Callable[[], bool]
    allowed: float


COUNTERS = {
    "perf": Counter(by_perf, _perf_counts, 0.1),
    "valgrind": Counter(by_valgrind, lambda: shutil.which("valgrind") is not None, 0.1),
    "time": Counter(by_time, lambda: True, 1.0),
}
"""Ways to count, best first."""


def costs(counts: Counts) -> Costs:
    """Return what one more of each job costs, in loops."""

    def each(name: str) -> float:
        (little, few), (more, many) = sorted(
            (size, count) for (one, size), count in counts.items() if one == name
        )
        return (many - few) / (more - little)

    yardstick = each(LOOP)
    names = dict.fromkeys(name for name, _ in counts if name != LOOP)
    return {name: round(each(name) / yardstick, 1) for name in names}


def losses(before: Costs, now: Costs, allowed: float) -> list[str]:
    """Return a sentence for each job that costs more than *allowed* above what it did *before*."""
    return [
        f"{name} costs {now[name]:,.0f} loops of plain Python, {now[name] / cost - 1:.0%} more "
        f"than the {cost:,.0f} of {BASELINE.name} ({allowed:.0%} are allowed); if that is meant, "
        "renew the baseline: python .ci/cost.py --renew"
        for name, cost in before.items()
        if now[name] > (1 + allowed) * cost
    ]


def here() -> str:
    """Return for whom a baseline is: another Python or processor has instructions of its own."""
    return f"Python {sys.version_info[0]}.{sys.version_info[1]}, {platform.machine()}"


def measured(name: str) -> Costs:
    """Return what jobs cost as one of the counters tells it."""
    with tempfile.TemporaryDirectory() as place:
        return costs(COUNTERS[name].counts(Path(place)))


def renew(baseline: dict[str, dict[str, Costs]]) -> None:
    """Write what jobs cost here, as every counter tells it that is at hand."""
    mine = baseline.setdefault(here(), {})
    for name, counter in COUNTERS.items():
        if counter.at_hand():
            mine[name] = measured(name)
    BASELINE.write_text(json.dumps(baseline, indent=1, sort_keys=True) + "\n")


def compare(baseline: dict[str, dict[str, Costs]]) -> list[str]:
    """Return what was lost here; say what was measured, and how."""
    mine = baseline.get(here(), {})
    name = next((one for one, way in COUNTERS.items() if one in mine and way.at_hand()), "")
    if not name:
        sys.stdout.write(f"{BASELINE.name} has nothing for {here()}: no cost was compared\n")
        return []
    if name == "time":
        sys.stdout.write("neither perf nor valgrind counts here: processor time tells doublings\n")
    now, allowed = measured(name), COUNTERS[name].allowed
    for job, cost in now.items():
        change = f"{cost / mine[name][job] - 1:+.1%}" if job in mine[name] else "new"
        sys.stdout.write(f"{job:8} {cost:10,.1f} loops, {change} ({name}, {here()})\n")
    return losses(mine[name], now, allowed)


def main(words: list[str]) -> None:
    """Compare, renew, or do a part of it in a process that was begun for that."""
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    match words:
        case []:
            lost = compare(baseline)
            if lost:
                sys.exit("\n".join(lost))
        case ["--renew"]:
            renew(baseline)
        case ["--forked", rounds]:
            sys.stdout.write(json.dumps(forked(int(rounds))))
        case ["--one", name, size]:
            jobs()[name].work(int(size))
        case _:
            sys.exit(f"expected nothing or --renew, got {' '.join(words)}")


if __name__ == "__main__":
    main(sys.argv[1:])
