"""What all tests share: a place for what billp keeps of its user, and one built-in world."""

from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
import structlog
from hypothesis import settings
from platformdirs import user_cache_path

from storage.datasets import built_in
from storage.environments import Environment

# The same examples on every machine, however busy it is: who changes a law changes its examples.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

# Run the same lines hundreds of times: to count them takes long, and finds next to none that is new
# (by `pytest --cov --cov-context=test`, which tells what each test reaches alone).
AGAIN = {
    "test_alterations", "test_altered", "test_bounded", "test_damage", "test_determinism",
    "test_docstrings", "test_embedding_costs", "test_estimate", "test_faults", "test_followers",
    "test_fork", "test_hostile_files", "test_kills", "test_output", "test_power", "test_replay",
    "test_tree", "test_utilization", "test_visitors", "test_worlds",
}  # fmt: skip


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Let one more work than usual: some tests wait for real time, and leave a processor idle."""
    return (yield) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out of coverage what costs more than it shows."""
    for item in items:
        if item.path.stem in AGAIN:
            item.add_marker("no_cover")


@pytest.fixture(autouse=True, scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the secret by which runs are known away from that of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True, scope="session")
def one_world() -> Iterator[None]:
    """Read a built-in world once a process: thousands of runs are on it, and none changes it."""
    usual, read = user_cache_path("billp"), built_in.synthetic
    once = cache(read)

    def shared(place: Path | None, world: str = built_in.NAME) -> Environment:
        return once(place, world) if place == usual else read(place, world)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(built_in, "synthetic", shared)
        yield


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """What a test lets be logged, as commands do that it calls, holds for no other test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
