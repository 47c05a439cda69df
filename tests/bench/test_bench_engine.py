"""What a model call costs in a whole run: run with `pytest tests/bench/test_bench_engine.py -s`.

A whole run, with prompts, memories, journal and trace, beside bare loops over the openai client and
over plain aiohttp that send as much, all with so many calls in flight to a service that answers
after 200 ms. What counts is processor time a call, of the client alone: the service is a process of
its own. All have the same event loop, and the garbage collector as runs set it.
"""

import os
import resource
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sim.config.layers import configured
from sim.runs.loop import in_event_loop
from sim.runs.run import run
from tests.bench import test_bench_models as models

# Whatever is asked, this can be read: a thought, an action, a value, a lesson.
REPLY = "recommend[The Restless Hunter Deluxe] 2"
MOST = int(os.environ.get("BILLP_BENCH_IN_FLIGHT", "10000"))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    service = models.SERVICE.replace('"Take Portal 2. " * 6', f'"{REPLY}"')
    with models.served(service) as url:
        yield url


@pytest.fixture
def room(request: pytest.FixtureRequest) -> int:
    """Return how many calls are in flight; skip where so many files cannot be open."""
    in_flight: int = request.param
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if in_flight > min(MOST, allowed - 200):
        pytest.skip(f"{in_flight:,} connections: BILLP_BENCH_IN_FLIGHT or ulimit -n is lower")
    return in_flight


def whole(url: str, in_flight: int, out: Path) -> models.Rate:
    """Return the rate of a run in which many more episodes than calls in flight take their turn."""
    config = configured(
        {
            "model": "openai/m",
            "base_url": url,
            "episodes": in_flight + 2_000,
            "arrivals": "all",
            "concurrency": in_flight,
            "limit": 4,
            "quit": {"window": 0},
            "fsync": "none",
            "prompts": False,
        }
    )
    spent = time.process_time()
    summary = run(config, out=out)
    spent = time.process_time() - spent
    return models.Rate(summary.live_calls / summary.seconds, spent / summary.live_calls * 1e6)


@pytest.mark.parametrize("room", [1_000, 5_000, 10_000], indirect=True)
def test_bench_calls_through_the_engine(
    room: int, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call in a whole run costs less than in a bare loop of openai's, however many there are."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setattr(models, "IN_FLIGHT", room)
    monkeypatch.setattr(models, "CALLS", 2 * room)
    monkeypatch.setattr(models, "ROUNDS", 2)
    engine = whole(url, room, tmp_path / "run")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ways = {
        "billp's chain": models.through_chain,
        "plain aiohttp": models.through_aiohttp,
        "openai, as documented": models.through_sdk,
    }
    rates = {name: in_event_loop(partial(way, url)) for name, way in ways.items()}
    models.say(f"\n{room:,} calls in flight: {peak:,.0f} MB after the whole run")
    for name, rate in {"a whole run": engine, **rates}.items():
        factors = [f"{rate.cost / rates[n].cost:5.2f} × {n}" for n in [*rates][1:]]
        cost = f"{rate.calls:6,.0f} calls/s  {rate.cost:5.0f} µs"
        models.say(f"{name:22} {cost}  {'  '.join(factors)}")
    assert engine.cost < rates["openai, as documented"].cost
