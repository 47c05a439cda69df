"""What it costs to hold a run in Python: `pytest tests/bench/test_bench_library.py -s`.

More with BILLP_BENCH_TRACE=1000 (megabytes).
"""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sim
from sim.config.layers import configured

TRACE = int(os.environ.get("BILLP_BENCH_TRACE", "100"))  # megabytes
PATIENT = {
    "agent": "random",
    "repeats": "allow",
    "quit": {"window": 0, "lowest": -10},
    "fsync": "none",
}
LOOKS = {
    "frame of UserResponded": "run.frame('UserResponded').height",
    "frame of ActionTaken": "run.frame('ActionTaken').height",
    "all episodes": "sum(len(episode.envelopes) for episode in run.episodes())",
}
CHILD = """
import sys, time
from pathlib import Path
from sim import Run
def peak():  # since this program began: getrusage tells of who started it, too
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
run = Run.open(sys.argv[1])
before, start = peak(), time.process_time()
rows = {look}
print(rows, time.process_time() - start, peak() - before)
"""
_BYTES_AN_EPISODE = 24_600


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a long trace."""
    out = tmp_path_factory.mktemp("long") / "run"
    episodes = round(TRACE * 1e6 / _BYTES_AN_EPISODE)
    sim.run(configured({**PATIENT, "limit": 50, "episodes": episodes}), out=out)
    return out


@pytest.mark.parametrize("look", LOOKS)
def test_bench_a_long_trace(look: str, long: Path) -> None:
    """It is read once, and what is held is the table, or an episode."""
    words = [sys.executable, "-c", CHILD.format(look=LOOKS[look]), str(long)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows, seconds, memory = map(float, done.stdout.split())
    size = (long / "trace.jsonl").stat().st_size / 1e6
    say(
        f"\n{look} of {size:,.0f} MB: {rows:,.0f} rows, {seconds:.2f} s, "
        f"{memory:,.0f} MB more at the peak"
    )
    assert memory < 150 + size / 4


def test_bench_a_run_that_is_heard(tmp_path: Path) -> None:
    """A block that takes every message costs the run next to nothing."""
    config = configured({"episodes": 200, "fsync": "none", "prompts": False})

    async def heard(out: Path) -> int:
        async with sim.live(config, out=out) as running:
            return sum([1 async for _ in running]) + running.missed

    async def quiet(out: Path) -> int:
        return (await sim.run_async(config, out=out)).messages

    times: dict[str, float] = {}
    for name in ("warm", "quiet", "heard", "quiet", "heard"):
        start = time.process_time()
        count = asyncio.run((heard if name == "heard" else quiet)(tmp_path / str(time.time_ns())))
        spent = time.process_time() - start
        times[name] = min(spent, times.get(name, spent))
    say(f"\n{count:,} messages: {times['quiet']:.2f} s, heard {times['heard']:.2f} s")
    assert times["heard"] < 1.3 * times["quiet"]
