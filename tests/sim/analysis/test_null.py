"""A true null: one agent against itself, its seeds parted in two at random.

The tables in data/ are R_traj of 40 test users (columns) under seeds 1 to 20 (rows), after 30
training episodes in the plain world with 8 % of its users to test with, by the paper's rules.
`made` makes such a table anew, as the slow test does.
"""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from sim.analysis.outcomes import averages, read_outcomes
from sim.analysis.seeds import seed_means, signs_p, t_p
from sim.analysis.statistics import Floats, sign_flip_p
from sim.config.layers import configured
from sim.runs.run import run
from storage.datasets import generate_environment, save
from storage.datasets.synthetic import PLAIN
from tests.support.small import PAPER

DATA = Path(__file__).parent / "data"
SPLITS = 1000


def rejected(table: Floats) -> tuple[float, float, float]:
    """Return the share of splits taken for a difference: by t, signs of seeds, signs of users."""
    chance = np.random.default_rng(13)
    orders = [chance.permutation(20) for _ in range(SPLITS)]
    splits = [table[order[:10]] - table[order[10:]] for order in orders]
    by_t = [t_p(seed_means(gaps)) for gaps in splits]
    by_signs = [signs_p(seed_means(gaps), seed=0) for gaps in splits[:200]]
    by_users = [sign_flip_p(gaps, seed=0, resamples=199) for gaps in splits[:200]]
    t, signs, users = (np.array(p, dtype=float) <= 0.05 for p in (by_t, by_signs, by_users))
    return float(t.mean()), float(signs.mean()), float(users.mean())


@pytest.mark.parametrize(("agent", "times"), [("billp", 2.5), ("best-sequence", 5)])
def test_an_agent_seldom_differs_from_itself(agent: str, times: float) -> None:
    """By seeds in 7 % of the splits at most; by users so often that they have a warning label."""
    t, signs, users = rejected(np.loadtxt(DATA / f"null-{agent}.csv", delimiter=","))
    assert t <= 0.07
    assert signs <= 0.07
    assert users >= times * max(t, 0.05)


def made(agent: str, place: Path) -> Floats:
    """Return such a table of *agent*, by runs in *place*."""
    world = place / "world"
    save(generate_environment(0, test_share=0.08, world=PLAIN), world)
    how = {"environment": str(world), "episodes": 30, "test_episodes": 40, "prompts": False}
    settings = configured(PAPER, how, {"agent": agent})
    paths = [place / f"seed={seed}" for seed in range(1, 21)]
    for seed, path in enumerate(paths, start=1):
        run(msgspec.structs.replace(settings, seed=seed), out=path)
    return averages([read_outcomes(path).judged for path in paths], "r_traj")


@pytest.mark.slow
def test_nor_does_it_when_it_is_run_anew(tmp_path: Path) -> None:
    """Whatever became of the world and the agent since the tables were made."""
    t, signs, users = rejected(made("best-sequence", tmp_path))
    assert max(t, signs) <= 0.08  # 200 splits of twenty seeds are off by 1.5 %
    assert users > 2 * t
