"""Whether blame finds what was planted: `pytest tests/bench/test_bench_blame.py -s`.

Of 100 episodes that went badly for a planted cause, in how many it stands first among all. What is
a case is decided before, by intervention (`tests.support.planting`): by 8 and again by 24 other
seeds the episode comes out at most half as well with the plant as without it. Told apart are
records that do the same where nothing else is remembered: of the others leaving out one that was
there before may cure as well, and either may stand first. So not more is asserted than holds. Seeds
are other ones than those by which the method was tuned (100 to 699).
"""

import sys
import time
from pathlib import Path

import pytest

from sim.experiments.blame.blaming import blame
from tests.support.planting import planted

CASES = {"reflection": (34, 1_000), "experience": (33, 2_000), "step": (33, 3_000)}
"""Of each kind how many, and the seed of the first run."""


@pytest.mark.parametrize("kind", CASES)
def test_what_was_planted_stands_first(kind: str, tmp_path: Path) -> None:
    """Among the first three in four of five cases of each kind; what stands first is told."""
    count, seed = CASES[kind]
    start, places, alone = time.process_time(), list[int](), list[int]()
    for case in planted(tmp_path, kind, count, seed):
        told = blame(case.run, case.episode)
        places += [n for n, one in enumerate(told.causes, 1) if case.is_it(one.cause)]
        fell = f"{case.before:.1f} → {case.after:.1f}"
        alone += places[-1:] if case.alone else []
        sys.stdout.write(f"{case.run.name}: {fell}, place {places[-1]} of {len(told.causes)}\n")
    seconds = time.process_time() - start
    sys.stdout.write(f"{kind}: first, of two, of three {within(places)} of {count}\n")
    sys.stdout.write(
        f"records that suffice alone: {within(alone)} of {len(alone)}; {seconds:.0f} s\n"
    )
    assert within(places)[2] >= 0.8 * count


def within(places: list[int]) -> list[int]:
    """Return how many of *places* are the first, of the first two, of the first three."""
    return [sum(place <= most for place in places) for most in (1, 2, 3)]
