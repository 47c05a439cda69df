"""Leaving by chance, alone and beside other rules."""

from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.messages import RunStarted, UserResponded
from sim import replay
from sim.config.layers import configured
from sim.world.quitting import QUIT_RULES, reasons_of, rule_named
from sim.world.quitting.hazard import HAZARD, HazardSettings
from tests.support.encounters import Chances, encounter, met, small_world
from tests.support.small import only, recorded, trace_of

WORLD = small_world(same=(0, 4))


def share(how: HazardSettings, reward: float = 3.0) -> float:
    left = [
        HAZARD.why(how, encounter(WORLD, 0, reward=reward, chances=Chances(seed)))
        for seed in range(4_000)
    ]
    return left.count("chance") / len(left)


@pytest.mark.parametrize("rate", [0.0, 0.1, 1.0])
def test_so_many_leave_at_each_step(rate: float) -> None:
    assert share(HazardSettings(rate=rate)) == pytest.approx(rate, abs=0.02)


def test_the_worse_the_item_the_more_leave() -> None:
    how = HazardSettings(rate=0.0, disappointment=0.1)
    assert share(how, 5.0) == 0.0
    assert share(how, 2.0) == pytest.approx(0.3, abs=0.02)


def test_what_cannot_happen_draws_nothing() -> None:
    chances = Chances()
    HAZARD.why(HazardSettings(rate=0.0), encounter(WORLD, 0, chances=chances))
    assert chances.drawn == []


# -- several at once


def reason(name: str, item: int, reward: float, **tables: object) -> tuple[object, list[str]]:
    """Return why the user leaves at *item* after the first, and which rules drew."""
    rule, chances = rule_named(name), Chances()
    met_one = encounter(WORLD, item, met(WORLD, [0]), reward=reward, chances=chances)
    return rule.why(rule.settings(**tables), met_one), chances.drawn


def test_the_first_reason_counts() -> None:
    """In the order of the names; a rule that is not reached draws nothing."""
    certain = HazardSettings(rate=1.0)
    assert reason("billp+hazard", 4, 3.0, hazard=certain) == ("similar", [])
    assert reason("hazard+billp", 4, 3.0, hazard=certain) == ("chance", ["hazard"])
    assert reason("billp+hazard", 1, 3.0, hazard=certain) == ("chance", ["hazard"])
    assert reason("billp+category", 1, 3.0) == (None, [])


def test_what_bores_one_of_them_bores() -> None:
    rule = rule_named("hazard+billp")
    bored = [rule.bores(rule.settings(), met(WORLD, [0]), item, WORLD) for item in (1, 4)]
    assert bored == [False, True]


def test_what_words_mean_is_known_of_all() -> None:
    for name in QUIT_RULES.own:
        assert rule_named(name).reasons == reasons_of(name) != {}
    assert rule_named("billp+temper").reasons == reasons_of("billp") | reasons_of("temper")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("billp+billp", "expected different quit rules"),
        ("billp+hazrd", "there is no quit rule 'hazrd'"),
        ("billp+", "there is no quit rule ''"),
    ],
)
def test_what_cannot_be_joined_is_said(name: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        configured({"quit_rule": name})


def test_a_run_has_a_table_for_each(tmp_path: Path) -> None:
    """They are in its head, and it replays."""
    tables = {"hazard": {"rate": 0.5}, "temper": {"initial": 3}}
    run = recorded(tmp_path / "run", agent="random", quit_rule="temper+hazard", quit=tables)
    settings = dict(only(trace_of(run), RunStarted)[0].settings)
    assert settings["quit_rule"] == "temper+hazard"
    assert (settings["quit.hazard.rate"], settings["quit.temper.initial"]) == (0.5, 3.0)
    assert {r.reason for r in only(trace_of(run), UserResponded)} <= {None, "temper", "chance"}
    assert replay(run.path).agrees
