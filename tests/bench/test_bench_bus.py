"""What a message costs: run with `pytest tests/bench/test_bench_bus.py -s`.

Through bus and scheduler, with three handlers for each message and the trace written to a file,
beside a bare asyncio.Queue in the same run, both in the event loop that runs have: machines and
their load differ, the ratio much less.
"""

import sys
from pathlib import Path

from sim.bench.jobs.messages import STEPS, bus_written, through_queues

MESSAGES, ROUNDS = 49_200, 5


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def test_messages_a_second(tmp_path: Path) -> None:
    """The whole trace is there; what it cost is printed."""
    trace = tmp_path / "trace.jsonl"
    rounds = [(bus_written(MESSAGES, trace), through_queues(MESSAGES)) for _ in range(ROUNDS)]
    bus, queue = (min(costs, key=lambda cost: cost.each) for costs in zip(*rounds, strict=True))
    say(f"\n{bus.count:,} messages, three handlers for each, best of {ROUNDS}")
    for name, cost in {"bus, trace written": bus, "asyncio.Queue": queue}.items():
        factor = f"{cost.rate / queue.rate:5.2f} × asyncio.Queue"
        say(f"{name:20} {cost.rate:9,.0f} messages/s  {1e6 * cost.each:6.2f} µs  {factor}")
    say(f"{trace.stat().st_size / bus.count:.0f} bytes a line")
    # The head and the end, and in each episode its start, two a step, its end and the join.
    assert bus.count == bus.told["episodes"] * (2 * STEPS + 3) + 2
    assert trace.read_bytes().count(b"\n") == bus.count
