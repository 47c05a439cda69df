"""What a model call costs in a whole run: run with `pytest tests/bench/test_bench_engine.py -s`.

A whole run, with prompts, memories, journal and trace, beside bare loops over the openai client and
over plain aiohttp that send as much, all with so many calls in flight to a service that answers
after 200 ms. What counts is processor time a call, of the client alone: the service is a process of
its own. All have the same event loop, and the garbage collector as runs set it.
"""

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim.bench.cost import peak
from sim.bench.jobs.service import Load, by_way, served, whole_run

MOST = int(os.environ.get("BILLP_BENCH_IN_FLIGHT", "10000"))
ROUNDS = 2


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture
def room(request: pytest.FixtureRequest) -> int:
    """Return how many calls are in flight; skip where so many files cannot be open."""
    in_flight: int = request.param
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if in_flight > min(MOST, allowed - 200):
        pytest.skip(f"{in_flight:,} connections: BILLP_BENCH_IN_FLIGHT or ulimit -n is lower")
    return in_flight


@pytest.mark.parametrize("room", [1_000, 5_000, 10_000], indirect=True)
def test_bench_calls_through_the_engine(room: int, url: str, tmp_path: Path) -> None:
    """A call in a whole run costs less than in a bare loop of openai's, however many there are."""
    costs = {"a whole run": whole_run(url, room, room + 2_000, tmp_path)}
    most = peak()
    for name, way in {"billp's chain": "chain", "aiohttp": "aiohttp", "openai": "openai"}.items():
        rounds = [by_way(way, Load(room, 2 * room), url) for _ in range(ROUNDS)]
        costs[name] = min(rounds, key=lambda cost: cost.each)
    sys.stdout.write(f"\n{room:,} calls in flight: {most:,.0f} MB after the whole run\n")
    for name, cost in costs.items():
        factors = [f"{cost.each / costs[n].each:5.2f} × {n}" for n in ("aiohttp", "openai")]
        told = f"{cost.count / cost.wall:6,.0f} calls/s  {1e6 * cost.each:5.0f} µs"
        sys.stdout.write(f"{name:22} {told}  {'  '.join(factors)}\n")
    assert costs["a whole run"].each < costs["openai"].each
