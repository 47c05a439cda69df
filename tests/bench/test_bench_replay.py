"""What a replay costs: run with `pytest tests/bench/test_bench_replay.py -s`.

Beside a live run of the embedded model, beside a model that takes its time, and in memory. More
with BILLP_BENCH_EPISODES=1000, BILLP_BENCH_TRACE=1000 (megabytes; half a minute for each 100).
"""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from sim.bench.jobs.runs import live, replayed, resumed, stopped
from sim.config.layers import configured
from sim.config.run import Settings
from sim.runs.run import run
from storage.runs import RunDirectory

EPISODES = int(os.environ.get("BILLP_BENCH_EPISODES", "300"))
TRACE = int(os.environ.get("BILLP_BENCH_TRACE", "200"))  # megabytes

LATENCY = 0.2  # seconds
IN_FLIGHT = 64


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def again(path: Path, envelopes: int) -> float:
    """Return the seconds of the fastest of three replays, from opening the run to its digest."""
    costs = [replayed(path) for _ in range(3)]
    assert {cost.count for cost in costs} == {envelopes}
    return min(cost.seconds for cost in costs)


@pytest.mark.parametrize("arrivals", ["all", "batches:10"])
def test_bench_replay_beside_an_embedded_run(arrivals: str, tmp_path: Path) -> None:
    """Reading a reply is no slower than making one up and writing it down."""
    cost = live(tmp_path / "run", episodes=EPISODES, arrivals=arrivals)
    count = int(cost.told["messages"])
    seconds = again(tmp_path / "run", count)
    say(
        f"\n{arrivals}, {EPISODES} episodes: {count:,} envelopes, live "
        f"{count / cost.seconds:,.0f}/s, replayed {count / seconds:,.0f}/s, "
        f"{cost.seconds / seconds:.2f} times"
    )
    assert cost.seconds / seconds >= 1


def test_bench_resume_beside_the_live_run(tmp_path: Path) -> None:
    """To come back to where a run stopped costs a fraction of having come there."""
    settings: Settings = {"episodes": EPISODES, "arrivals": "batches:10"}
    calls = live(tmp_path / "whole", **settings).told["calls"]
    for share in (0.1, 0.5, 0.9):
        out, copy, half = tmp_path / f"{share}", tmp_path / f"{share}-copy", round(share * calls)
        begun = stopped(out, half, **settings).seconds
        copytree(out, copy)
        RunDirectory(copy).checkpoint.unlink()
        back = resumed(out, half).seconds
        whole = resumed(copy, half).seconds
        say(
            f"\nresumed at {share:.0%} of {EPISODES} episodes: {back:.2f} s, without a "
            f"checkpoint {whole:.2f}, live to there {begun:.2f}: {back / begun:.2f} and "
            f"{whole / begun:.2f} of it"
        )
        assert back < whole or share < 0.5


def test_bench_replay_that_begins_late(tmp_path: Path) -> None:
    """What lies before the episode is read, not made again."""
    out, last = tmp_path / "run", EPISODES - 10
    begun = live(out, episodes=EPISODES, arrivals="batches:10").seconds
    whole = replayed(out).seconds
    late, alone = replayed(out, start=last).seconds, replayed(out, episode=last).seconds
    say(
        f"\nlive {begun:.2f} s; replayed whole {whole:.2f}, from episode {last} {late:.2f}, "
        f"that one alone {alone:.2f}"
    )
    assert max(late, alone) < whole / 2


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
    summary = run(config, model=Remote(), out=tmp_path / "run")
    seconds = again(tmp_path / "run", summary.messages)
    say(
        f"\n{arrivals}, {LATENCY * 1000:.0f} ms, {IN_FLIGHT} in flight, "
        f"{summary.utilization:.2f} of them busy: {summary.messages:,} envelopes in "
        f"{summary.seconds:.1f} s, replayed in {seconds:.2f} s, "
        f"{summary.seconds / seconds:.1f} times faster"
    )
    assert summary.seconds / seconds >= times


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
