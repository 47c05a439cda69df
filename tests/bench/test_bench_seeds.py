"""What is saved by stopping when all is decided: `pytest tests/bench/test_bench_seeds.py -s`.

Beside it stands the fixed number with which a t test at 5 % would see the difference, as it was
found, in nine experiments of ten: what somebody would take who knew it beforehand (1,000 stands
for more).
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sim import Experiment, experiment
from tests.support.small import PLAIN

MOST = 30


def fixed_number(mean: float, spread: float) -> int:
    """Return the seeds with which a two-sided t test at 5 % has a power of 90 %."""
    for count in range(2, 1_000):
        bar = stats.t.ppf(0.975, count - 1)
        if stats.nct.sf(bar, count - 1, abs(mean) / spread * np.sqrt(count)) >= 0.9:
            return count
    return 1_000


@pytest.mark.parametrize(
    ("one", "other", "effect"),
    [("reflexion", "random", None), ("billp", "best-sequence", 15.0), ("billp", "reflexion", 15.0)],
)
def test_bench_seeds(tmp_path: Path, one: str, other: str, effect: float | None) -> None:
    """Fewer than the most that are allowed."""
    what = Experiment(
        agents=(one, other),
        seeds=(1,),
        until="decided",
        effect=effect,
        most_seeds=MOST,
        settings={**PLAIN, "episodes": 30, "test_episodes": 40, "prompts": False},
    )
    report = experiment(what, out=tmp_path / "e")
    (decision,), (pair,) = report.decisions, report.comparison.pairs
    gaps = [own.value for own in pair.difference.by_seed]
    fixed = fixed_number(float(np.mean(gaps)), float(np.std(gaps, ddof=1)))
    sys.stdout.write(f"\n{decision}; of at most {MOST}; a fixed test: {fixed:,}\n")
    assert decision.seeds < MOST
