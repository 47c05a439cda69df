"""Why users leave, as it is shown: what a rule went by lies beyond its bound, and is recorded."""

from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from engine.messages import ActionTaken, Evidence, UserResponded
from sim.config.layers import configured
from sim.runs.run import run
from sim.world.quitting import rule_named
from storage.datasets import open_environment
from storage.factors import UNIT
from storage.traces import read_episodes
from tests.support.shell import Shell

RULES = ("billp", "quantile", "category", "temper", "hazard", "hazard+billp", "temper+quantile")


@pytest.mark.parametrize("rule", RULES)
def test_whoever_leaves_leaves_evidence(rule: str, tmp_path: Path) -> None:
    """Of the rule whose reason it is, beyond its bound; who stays leaves none."""
    settings = {"agent": "random", "episodes": 30, "quit_rule": rule, "limit": 30}
    run(configured(settings), out=tmp_path / "run")
    reasons = set()
    for _, envelopes in read_episodes(tmp_path / "run" / "trace.jsonl", (UserResponded,)):
        for message in (envelope.message for envelope in envelopes):
            assert isinstance(message, UserResponded)
            assert (message.evidence is not None) is message.left
            if message.evidence is not None and message.reason is not None:
                reasons.add(message.reason)
                check(message.reason, message.evidence, rule)
    assert reasons <= rule_named(rule).reasons.keys()
    assert reasons


def check(reason: str, told: Evidence, rule: str) -> None:
    assert told.rule in rule.split("+")
    assert (told.item is not None) is (reason == "similar")
    below = reason in {"similar", "reward", "temper"}
    assert (told.measure < told.bound) if below else (told.measure > told.bound)


def test_the_near_item_is_one_of_the_last_and_as_near_as_is_said(tmp_path: Path) -> None:
    """The nearest of the window; its distance is that of the world."""
    run(configured({"agent": "popular", "episodes": 20}), out=tmp_path / "run")
    factors = open_environment("synthetic").factors
    found = 0
    for _, envelopes in read_episodes(
        tmp_path / "run" / "trace.jsonl", (ActionTaken, UserResponded)
    ):
        shown = [e.message.item for e in envelopes if isinstance(e.message, ActionTaken)]
        last = envelopes[-1].message
        if isinstance(last, UserResponded) and last.reason == "similar":
            assert last.evidence is not None
            assert last.evidence.item in shown[-5:-1]
            squared = factors.distance_squared(shown[-1], np.array(shown[-5:-1]))
            assert last.evidence.measure == pytest.approx(sqrt(min(squared)) / UNIT, abs=1e-5)
            found += 1
    assert found


def test_show_tells_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(configured({"agent": "random", "episodes": 3}), out=tmp_path / "run")
    page = Shell(capsys).fine("show", str(tmp_path / "run"), "0")
    assert "Why: " in page
    assert "by the rule quantile: " in page
