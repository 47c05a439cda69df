"""What the engine adds to a call: run with `pytest tests/bench/test_bench_engine.py -s`.

A whole run, with prompts, memories, journal and trace, beside a bare loop over the same client that
sends prompts of the same size, both with 1,000 calls in flight to a service that answers after
200 ms.
"""

import asyncio
import os
import time
from pathlib import Path

import openai
import pytest

from sim.config.layers import configured
from sim.runs.run import run
from tests.bench.test_bench_models import CALLS, IN_FLIGHT, SERVICE, request, say, sdk, served

EPISODES = int(os.environ.get("BILLP_BENCH_EPISODES", "1500"))
# Whatever is asked, this can be read: a thought, an action, a value, a lesson.
REPLY = "recommend[The Restless Hunter Deluxe] 2"


async def bare(url: str) -> float:
    """Return the calls a second of the SDK as its manual says, in steady state."""
    async with sdk(url) as client:

        async def ask(seed: int) -> None:
            asked = request(seed)
            await client.chat.completions.create(
                model="m",
                messages=[
                    {"role": "system", "content": asked.messages[0].content},
                    {"role": "user", "content": asked.messages[1].content},
                ],
                seed=seed,
                temperature=0.5,
                max_tokens=400,
            )

        async def worker(seeds: "list[int]") -> None:
            for seed in seeds:
                await ask(seed)

        await asyncio.gather(*[ask(seed) for seed in range(IN_FLIGHT)])
        start = time.perf_counter()
        shares = [list(range(n, CALLS, IN_FLIGHT)) for n in range(IN_FLIGHT)]
        await asyncio.gather(*[worker(share) for share in shares])
        return CALLS / (time.perf_counter() - start)


def test_bench_calls_through_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1,000 in flight a run makes at least 0.85 of the calls of a bare loop."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert openai.__version__
    with served(SERVICE.replace('"Take Portal 2. " * 6', f'"{REPLY}"')) as url:
        loop = max(asyncio.run(bare(url)) for _ in range(2))
        config = configured(
            {
                "model": "openai/m",
                "base_url": url,
                "episodes": EPISODES,
                "arrivals": "all",
                "concurrency": IN_FLIGHT,
                "limit": 4,
                "quit": {"window": 0, "lowest": 0.0},
                "fsync": "none",
                "prompts": False,
            }
        )
        summary = run(config, out=tmp_path / "run")
    engine = summary.live_calls / summary.seconds
    say(
        f"\nengine {engine:,.0f} calls/s ({summary.live_calls:,} calls, {summary.utilization:.3f} "
        f"of the slots), bare openai loop {loop:,.0f}: {engine / loop:.2f}"
    )
    assert engine / loop >= 0.85
