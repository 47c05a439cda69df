"""What it costs to start, and how much memory there is before anything is done."""

import subprocess
import sys

from sim.bench.cost import Cost, cost_of


def start(code: str) -> Cost:
    """Start a Python that runs *code*."""

    def work() -> int:
        words = [sys.executable, "-c", code]
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        return 1

    return cost_of(work)
