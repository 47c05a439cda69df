"""A run under each of the rules, for those who take its actions again."""

import pytest

from tests.sim.gym.played import RULES, Played, played


@pytest.fixture(scope="package", params=range(len(RULES)))
def rules(request: pytest.FixtureRequest) -> int:
    """The position of some rules."""
    return int(request.param)


@pytest.fixture(scope="package")
def run(rules: int, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A run by them, of a seed of its own."""
    return played(tmp_path_factory.mktemp("played") / "run", {"seed": rules, **RULES[rules]})
