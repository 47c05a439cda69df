"""How many calls the arrivals of a run allow in flight."""

from pathlib import Path

import pytest
import structlog

from sim.config.flight import unused
from sim.config.layers import configured
from tests.support.shell import Shell
from tests.support.small import recorded


@pytest.mark.parametrize(
    ("arrivals", "concurrency", "idle"),
    [
        ("batches:10", 64, True),
        ("batches:10", 20, False),
        ("batches:40", 64, False),
        ("all", 64, False),
    ],
)
def test_more_calls_than_a_batch_can_use_are_noted(
    arrivals: str, concurrency: int, *, idle: bool
) -> None:
    """Two for each visit of a batch: the next action, and a value beside it."""
    assert bool(unused(configured({"arrivals": arrivals, "concurrency": concurrency}))) == idle


def test_who_chose_nothing_is_not_warned() -> None:
    """However small the batches are."""
    assert not unused(configured({"arrivals": "batches:1"}))


def test_it_is_said_once_at_the_start(tmp_path: Path) -> None:
    """And in an estimate, before anything is paid."""
    with structlog.testing.capture_logs() as logs:
        recorded(tmp_path / "run", concurrency=64)
    (told,) = (log for log in logs if "concurrency" in log["event"])
    assert "64 calls in flight batches:2 can use about 4" in told["why"]


def test_an_estimate_tells_the_trade(capsys: pytest.CaptureFixture[str]) -> None:
    """Larger batches are faster, and teach less."""
    said = Shell(capsys).fine("run", "--dry-run", "--episodes", "2", "--arrivals", "batches:2")
    assert "about 4 calls in flight: larger batches run faster" in said
