"""What it costs to start, and what processors are worth that share nothing."""

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


def loops(code: str, count: int, processes: int) -> Cost:
    """Do *code* so often, in equal parts by so many processes at a time."""
    part = f"for _ in range({count // processes}):\n {code}"

    def work() -> int:
        begun = [subprocess.Popen([sys.executable, "-c", part]) for _ in range(processes)]
        for process in begun:
            if process.wait():
                raise subprocess.CalledProcessError(process.returncode, process.args)
        return count

    return cost_of(work)
