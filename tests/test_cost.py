"""A loss is told: what .ci/cost.py says of fixed jobs that cost more than they did."""

import json
import re
import runpy
from pathlib import Path

import pytest

CI = Path(__file__).parents[1] / ".ci"
COST = runpy.run_path(str(CI / "cost.py"), run_name="cost")
BASELINE: dict[str, dict[str, dict[str, float]]] = json.loads((CI / "cost.json").read_text())


def test_costs_are_told_in_loops_without_the_start() -> None:
    """What a little and more of it have in common is no part, whatever it is."""
    start = 1e9
    counts = {
        ("loop", 10): start + 10 * 50,
        ("loop", 1_010): start + 1_010 * 50,
        ("kernel", 110): 2 * start + 110 * 500_000,
        ("kernel", 10): 2 * start + 10 * 500_000,
    }
    assert COST["costs"](counts) == {"kernel": 10_000.0}


def test_a_loss_is_one_sentence() -> None:
    """It names the job, the figures, and how the baseline is renewed."""
    before = {"kernel": 1_000.0, "chain": 500.0}
    assert COST["losses"](before, {"kernel": 1_099.0, "chain": 200.0}, 0.1) == []
    (said,) = COST["losses"](before, {"kernel": 1_200.0, "chain": 549.0}, 0.1)
    assert re.match(r"kernel costs 1,200 loops .* 20% more than the 1,000 of cost.json", said)
    assert said.endswith("python .ci/cost.py --renew")


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ("# started\n\n123456,,instructions:u,99,100.00,,\n", 123456),
        ("<not supported>,,instructions:u,0,100.00,,\n", None),
        ("", None),
    ],
)
def test_what_perf_says_is_read(said: str, count: int | None) -> None:
    assert COST["instructions"](said) == count


@pytest.mark.parametrize("minor", [11, 13])
def test_there_is_a_baseline_for_every_python_of_ours(minor: int) -> None:
    """By instructions and by time, of all jobs."""
    mine = BASELINE[f"Python 3.{minor}, x86_64"]
    assert {"valgrind", "time"} <= set(mine)
    for costs in mine.values():
        assert set(costs) == {"kernel", "all", "batches", "chain"}
        assert min(costs.values()) > 0
