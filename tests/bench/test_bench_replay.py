"""What a replay costs: run with `pytest tests/bench/test_bench_replay.py -s`.

Beside a live run of the embedded model, beside a model that takes its time, and in memory. More
with BILLP_BENCH_EPISODES=1000, BILLP_BENCH_TRACE=1000 (megabytes; half a minute for each 100).
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import TypeVar

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from engine.errors import ServiceError
from sim.config.layers import configured
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.runs.run import run
from storage.runs import RunDirectory
from tests.support.spent import Spent

EPISODES = int(os.environ.get("BILLP_BENCH_EPISODES", "300"))
TRACE = int(os.environ.get("BILLP_BENCH_TRACE", "200"))  # megabytes

LATENCY = 0.2  # seconds
IN_FLIGHT = 64


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what *work* returns, and the seconds that the processor spent on it.

    Not the wall's: others may be at work on this machine, and what waits for a model or a disk
    waits no less for that.
    """
    start = time.process_time()
    done = work()
    return done, time.process_time() - start


def replayed(path: Path, envelopes: int) -> float:
    """Return the seconds of the fastest of three replays, from opening the run to its digest."""
    times = []
    for _ in range(3):
        done, seconds = timed(lambda: replay(path))
        assert (done.agrees, done.whole, done.envelopes) == (True, True, envelopes)
        times.append(seconds)
    return min(times)


@pytest.mark.parametrize("arrivals", ["all", "batches:10"])
def test_bench_replay_beside_an_embedded_run(arrivals: str, tmp_path: Path) -> None:
    """Reading a reply is no slower than making one up and writing it down."""
    run(configured({"episodes": 10}), out=tmp_path / "warm")
    config = configured({"episodes": EPISODES, "arrivals": arrivals})
    summary, live = timed(lambda: run(config, out=tmp_path / "run"))
    count = summary.messages
    again = replayed(tmp_path / "run", count)
    say(
        f"\n{arrivals}, {EPISODES} episodes: {count:,} envelopes, live {count / live:,.0f}/s, "
        f"replayed {count / again:,.0f}/s, {live / again:.2f} times"
    )
    assert live / again >= 1


def until_spent(work: Callable[[], object]) -> float:
    """Return the seconds of *work* until its account is spent."""

    def spending() -> None:
        with pytest.raises(ServiceError, match="spent"):
            work()

    return timed(spending)[1]


def test_bench_resume_beside_the_live_run(tmp_path: Path) -> None:
    """To come back to where a run stopped costs a fraction of having come there."""
    run(configured({"episodes": 10}), out=tmp_path / "warm")
    config = configured({"episodes": EPISODES, "arrivals": "batches:10"})
    calls = run(config, out=tmp_path / "whole").calls
    for share in (0.1, 0.5, 0.9):
        out, copy = tmp_path / f"{share}", tmp_path / f"{share}-copy"
        spent = Spent(round(share * calls))
        live = until_spent(partial(run, config, out=out, model=spent))
        copytree(out, copy)
        RunDirectory(copy).checkpoint.unlink()
        again = until_spent(partial(resume, out, model=Spent(0)))
        whole = until_spent(partial(resume, copy, model=Spent(0)))
        say(
            f"\nresumed at {share:.0%} of {EPISODES} episodes: {again:.2f} s, without a "
            f"checkpoint {whole:.2f}, live to there {live:.2f}: {again / live:.2f} and "
            f"{whole / live:.2f} of it"
        )
        assert again < whole or share < 0.5


def test_bench_replay_that_begins_late(tmp_path: Path) -> None:
    """What lies before the episode is read, not made again."""
    config = configured({"episodes": EPISODES, "arrivals": "batches:10"})
    _, live = timed(lambda: run(config, out=tmp_path / "run"))
    last = EPISODES - 10
    _, whole = timed(lambda: replay(tmp_path / "run"))
    _, begun = timed(lambda: replay(tmp_path / "run", start=last))
    _, alone = timed(lambda: replay(tmp_path / "run", episode=last))
    say(
        f"\nlive {live:.2f} s; replayed whole {whole:.2f}, from episode {last} {begun:.2f}, "
        f"that one alone {alone:.2f}"
    )
    assert max(begun, alone) < whole / 2


@dataclass
class Remote:
    """The embedded model, as far away as a service is."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        await asyncio.sleep(LATENCY)
        return await self.model.reply(request)


@pytest.mark.parametrize(("arrivals", "times"), [("all", 20), ("batches:64", 10)])
def test_bench_replay_beside_a_slow_model(arrivals: str, times: int, tmp_path: Path) -> None:
    """A replay waits for nobody; what episodes recall of others it must recall again."""
    config = configured(
        {"episodes": 3 * IN_FLIGHT, "limit": 15, "arrivals": arrivals, "concurrency": IN_FLIGHT}
    )
    live = run(config, model=Remote(), out=tmp_path / "run")
    again = replayed(tmp_path / "run", live.messages)
    say(
        f"\n{arrivals}, {LATENCY * 1000:.0f} ms, {IN_FLIGHT} in flight, {live.utilization:.2f} of "
        f"them busy: {live.messages:,} envelopes in {live.seconds:.1f} s, replayed in "
        f"{again:.2f} s, {live.seconds / again:.1f} times faster"
    )
    assert live.seconds / again >= times


CHILD = """
import sys
from resource import RUSAGE_SELF, getrusage
from sim.runs.replay import replay
path, last = sys.argv[1:]
done = replay(path, until=(int(last), 0) if last else None)
assert done.agrees
print(getrusage(RUSAGE_SELF).ru_maxrss / 1024, done.envelopes / done.seconds)
"""

PATIENT = {
    "agent": "random",
    "repeats": "allow",
    "quit": {"window": 0, "lowest": -10},
    "fsync": "none",
}


def peak(path: Path, last: int | None = None) -> tuple[float, float]:
    """Return how many MB a replay took at its peak, and its envelopes a second."""
    words = [sys.executable, "-c", CHILD, str(path), "" if last is None else str(last)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    memory, rate = map(float, done.stdout.split())
    return memory, rate


@pytest.mark.parametrize("limit", [50, 500])
def test_bench_memory_of_a_replay(limit: int, tmp_path: Path) -> None:
    """It does not take a machine as big as the trace to look into it; users stay to the *limit*."""
    episodes = round(TRACE * 1e6 / (limit * _BYTES_A_STEP))
    run(configured({**PATIENT, "limit": limit, "episodes": episodes}), out=tmp_path / "run")
    size = (tmp_path / "run" / "trace.jsonl").stat().st_size / 1e6
    (part, _), (whole, rate) = peak(tmp_path / "run", episodes // 4), peak(tmp_path / "run")
    say(
        f"\na trace of {size:,.0f} MB, {limit} steps an episode: {whole:.0f} MB at the peak, "
        f"{part:.0f} MB after a quarter of it, {rate:,.0f} envelopes/s"
    )
    assert whole < 500


_BYTES_A_STEP = 490
