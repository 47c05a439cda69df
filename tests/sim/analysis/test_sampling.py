"""Which episodes a report shows."""

from pathlib import Path

import pytest

from sim.analysis.ledger import Ledger
from sim.analysis.sampling import sample
from tests.support.small import Failing, recorded


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    ledger = Ledger(recorded(tmp_path_factory.mktemp("run") / "run", episodes=20).trace)
    ledger.refresh()
    return ledger


def test_the_worst_and_the_best_are_among_them(ledger: Ledger) -> None:
    rewards = {row.episode: row.reward for row in ledger.rows()}
    told = {one.episode: one.why for one in sample(ledger, 6)}
    worst = [episode for episode, why in told.items() if why == "worst"]
    best = [episode for episode, why in told.items() if why == "best"]
    assert {rewards[episode] for episode in worst} == {*sorted(rewards.values())[:2]}
    assert {rewards[episode] for episode in best} == {*sorted(rewards.values())[-2:]}


@pytest.mark.parametrize("count", [0, 1, 5, 20, 99])
def test_there_are_as_many_as_are_asked_for(ledger: Ledger, count: int) -> None:
    """Each once, in their order, and never more than there are."""
    episodes = [one.episode for one in sample(ledger, count)]
    assert len(episodes) == min(count, len(ledger))
    assert episodes == sorted({*episodes})


def test_one_that_failed_is_among_them(tmp_path: Path) -> None:
    """It counts among no best and no worst."""
    ledger = Ledger(recorded(tmp_path / "run", Failing(), episodes=4).trace)
    ledger.refresh()
    told = {one.episode: one.why for one in sample(ledger, 2)}
    assert told[1] == "failed"
    assert len(told) == 2


def test_a_run_without_episodes_has_none(tmp_path: Path) -> None:
    assert sample(Ledger(tmp_path / "trace.jsonl"), 3) == ()
