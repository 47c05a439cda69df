"""What all tests share: a place for what billp keeps of its user, and one built-in world."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from storage.datasets import built_in
from storage.environments import Environment


@pytest.fixture(autouse=True, scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the secret by which runs are known away from that of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True, scope="session")
def one_world() -> Iterator[None]:
    """Read the built-in world once a process: thousands of runs are on it, and none changes it."""
    usual, read = user_cache_path("billp"), built_in.synthetic
    once = cache(read)

    def shared(place: Path | None) -> Environment:
        return once(place) if place == usual else read(place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(built_in, "synthetic", shared)
        yield
