"""The same users in two runs: who is paired with whom, and who got more."""

from pathlib import Path

import pytest

from sim.analysis.ledger import Ledger
from sim.analysis.pairing import Measure, paired, value_of
from tests.support.small import recorded


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ledger, Ledger]:
    """Runs of two agents, with users that come to every test; the other met two users fewer."""
    folder = tmp_path_factory.mktemp("runs")
    return _ledger(folder / "one", "act-only", 6), _ledger(folder / "other", "random", 4)


def _ledger(path: Path, agent: str, episodes: int) -> Ledger:
    run = recorded(path, agent=agent, episodes=episodes, test_episodes=2, test_every=2)
    ledger = Ledger(run.trace)
    ledger.refresh()
    return ledger


def test_a_visit_is_paired_with_that_of_the_same_user(ledgers: tuple[Ledger, Ledger]) -> None:
    """In the same phase; every test on its own."""
    both = [visit for visit in paired(*ledgers) if visit.one and visit.other]
    assert {(v.one.user, v.one.session, v.one.phase) for v in both if v.one} == {
        (v.other.user, v.other.session, v.other.phase) for v in both if v.other
    }
    assert len({v.one.episode for v in both if v.one}) == len(both)


def test_no_visit_is_lost(ledgers: tuple[Ledger, Ledger]) -> None:
    """Those of one run only have no difference, and come last."""
    visits = paired(*ledgers)
    assert sum(visit.one is not None for visit in visits) == len(ledgers[0])
    assert sum(visit.other is not None for visit in visits) == len(ledgers[1])
    known = [visit.gap is not None for visit in visits]
    assert known == sorted(known, reverse=True)
    assert not all(known)


@pytest.mark.parametrize("measure", ["r_traj", "len", "r_each"])
def test_those_farthest_apart_come_first(ledgers: tuple[Ledger, Ledger], measure: Measure) -> None:
    """By the measure that is asked for."""
    told = [(v.one, v.other, v.gap) for v in paired(*ledgers, measure)]
    known = [
        (value_of(one, measure) - value_of(other, measure), gap)
        for one, other, gap in told
        if one and other and gap is not None
    ]
    assert [gap for _, gap in known] == [gap for gap, _ in known]
    sizes = [abs(gap) for gap, _ in known]
    assert sizes == sorted(sizes, reverse=True)
