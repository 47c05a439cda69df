"""What it costs to start: run with `pytest tests/bench/test_bench_start.py -s`."""

import sys

from sim.bench.jobs.starts import start

REPETITIONS = 20
MEASURE = "import numpy, msgspec"
STARTS = {"import sim": 0.6, "import sim.cli as c; c.main(['--help'])": 2.0}
"""What is started, and how many times as long as MEASURE it may take."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def test_bench_start() -> None:
    """Beside numpy and msgspec, in turns: the least of each, as others are at work here, too."""
    codes = [MEASURE, *STARTS]
    rounds = [[start(code).seconds for code in codes] for _ in range(REPETITIONS)]
    measure, *least = map(min, zip(*rounds, strict=True))
    for (code, most), spent in zip(STARTS.items(), least, strict=True):
        say(f"\n{code}: {spent:.3f} s, {spent / measure:.2f} times {MEASURE} ({measure:.3f} s)")
        assert spent / measure <= most
