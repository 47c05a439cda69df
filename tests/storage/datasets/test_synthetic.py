import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.datasets.directories import load, save
from storage.datasets.synthetic import (
    DIGEST,
    DIGESTS,
    NAME,
    PLAIN,
    PLAIN_DIGEST,
    WORLDS,
    build_synthetic,
    synthetic,
)
from storage.environments import Environment
from tests.support.dying import together


@pytest.fixture(scope="module")
def plain() -> Environment:
    return build_synthetic(world=PLAIN)


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest, plain: Environment) -> Environment:
    return plain if request.param == PLAIN else build_synthetic(world=request.param)


def top_share(counts: NDArray[np.int64], percent: int) -> float:
    ordered = np.sort(counts)[::-1]
    return float(ordered[: len(counts) * percent // 100].sum() / counts.sum())


def test_world_is_the_golden_one(world: Environment) -> None:
    """Golden traces are recorded on this world: a change of it must be meant."""
    assert world.head.digest == DIGESTS[world.head.name]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_blas_leaves_no_mark(threads: str) -> None:
    """The world is made of whole numbers: no number of BLAS threads, no hash seed changes it."""
    code = "from storage.datasets.synthetic import build_synthetic as b; b().head.digest == DIGEST"
    code = f"DIGEST = {DIGEST!r}; {code} or exit(1)"
    chosen = {"OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | chosen)


def test_other_seeds_give_other_worlds(world: Environment) -> None:
    """The seed decides everything that is drawn."""
    other = build_synthetic(seed=1, world=world.head.name)
    assert other.head.digest != world.head.digest


def test_popularity_has_steams_long_tail(world: Environment) -> None:
    """The top 1/10/20 % of items take about 10/41/58 % of interactions."""
    counts = np.bincount(world.users.items, minlength=len(world.catalog))
    shares = [top_share(counts, percent) for percent in (1, 10, 20)]
    np.testing.assert_allclose(shares, [0.10, 0.41, 0.58], atol=0.03)


def test_histories_are_as_long_as_steams(world: Environment) -> None:
    """Half of the users met about 19 items, three quarters at most about 34, all at least one."""
    lengths = np.diff(world.users.offsets)
    np.testing.assert_allclose(np.percentile(lengths, [50, 75]), [19, 34], atol=2)
    assert lengths.min() >= 1


def test_ratings_are_spread_evenly(world: Environment) -> None:
    """Each of 1 … 5 is a fifth of the ratings."""
    counts = np.unique(world.users.ratings, return_counts=True)[1]
    np.testing.assert_allclose(counts / counts.sum(), 0.2, atol=0.01)


def test_titles_are_distinct_and_categorised(world: Environment) -> None:
    """Every item has a title of its own and one to four of the 20 categories."""
    assert len(set(world.catalog.titles)) == len(world.catalog) == 2_000
    assert {len(names) for names in world.catalog.categories} <= {1, 2, 3, 4}
    assert len(world.catalog.category_names) == 20


def test_sizes_can_be_chosen() -> None:
    """Smaller and larger worlds come from the same generator."""
    small = build_synthetic(seed=3, users=30, items=60, categories=5)
    assert (small.head.users, small.head.items, small.head.categories) == (30, 60, 5)
    assert (small.head.test_users, len(small.train_users)) == (6, 24)


def test_cache_keeps_the_world(tmp_path: Path) -> None:
    """The second time the world is read, not built."""
    assert synthetic(tmp_path).head == synthetic(tmp_path).head == load(tmp_path / NAME).head


def test_damaged_cache_is_replaced(tmp_path: Path) -> None:
    """A torn file in the cache costs a rebuild, no more."""
    synthetic(tmp_path)
    (tmp_path / NAME / "places.npy").write_bytes(b"torn")
    assert synthetic(tmp_path).head.digest == DIGEST
    assert load(tmp_path / NAME).head.digest == DIGEST


def test_stale_cache_is_replaced(tmp_path: Path) -> None:
    """A sound world of another version is not taken for this one."""
    save(build_synthetic(seed=1, users=20, items=40), tmp_path / NAME)
    assert synthetic(tmp_path).head.digest == DIGEST


def test_unwritable_cache_is_no_error(tmp_path: Path) -> None:
    """Where nothing can be kept, the world is built in memory."""
    (tmp_path / "file").write_text("in the way")
    assert synthetic(tmp_path / "file").head.digest == DIGEST


def test_processes_share_the_cache(tmp_path: Path) -> None:
    """Several that start at once all get the world, and leave one whole copy behind."""
    cache = tmp_path / "cache"
    said = together([partial(wanted, cache)] * 4, tmp_path / "said")
    assert [process.status for process in said] == [0, 0, 0, 0]
    assert [path.name for path in cache.iterdir()] == [NAME]
    assert load(cache / NAME).head.digest == DIGEST


def wanted(cache: Path) -> None:
    """Get the world, or end with another status than 0."""
    assert synthetic(cache).head.digest == DIGEST


def test_the_plain_world_is_another(tmp_path: Path, plain: Environment) -> None:
    """The same items and titles; other tastes. It is kept beside the default one."""
    usual = synthetic(tmp_path)
    assert (plain.head.name, plain.head.digest) == (PLAIN, PLAIN_DIGEST)
    assert synthetic(tmp_path, PLAIN).head == synthetic(tmp_path, PLAIN).head == plain.head
    assert usual.catalog.titles == plain.catalog.titles
    assert synthetic(tmp_path).head == usual.head


def test_categories_tell_taste_unless_the_world_is_plain(world: Environment) -> None:
    """Nine tenths of what is personal in rewards, and not half in the plain one."""
    assert told(world) < 0.5 if world.head.name == PLAIN else told(world) > 0.85


def told(world: Environment) -> float:
    """Return the share of rewards' personal variance that a regression on categories explains."""
    rewards = np.stack([world.factors.rewards(user) for user in range(100)])
    own = (rewards - rewards.mean(axis=0)).T
    columns, ends = world.catalog.labels
    table = np.zeros((len(own), len(world.catalog.category_names) + 1))
    table[np.repeat(np.arange(len(own)), np.diff(ends)), columns] = 1.0
    table[:, -1] = 1.0
    table[:, :-1] /= np.sqrt(np.diff(ends))[:, None]
    rest = own - table @ np.linalg.lstsq(table, own, rcond=None)[0]
    return float(1 - rest.var() / own.var())
