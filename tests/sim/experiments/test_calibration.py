"""Worlds are made as long as is wanted, by what is too much alike and by users' threshold."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.messages import EpisodeEnded
from sim.config.layers import configured, merged
from sim.config.run import Settings
from sim.experiments.calibration import CLOSE, STEPS, Tuning, Wanted, close, seek
from storage.datasets.synthetic import build_synthetic
from tests.support.small import only, recorded, trace_of

SMALL = build_synthetic(seed=2, users=30, items=200, categories=8)
OURS: Settings = {"quit_rule": "quantile", "rewards": {"satiation": [0.0, 0.6]}, "limit": 30}
RULES: Settings = {**OURS, "quit": {"quantile": 0.1}}


def tuning(rules: Settings = RULES) -> Tuning:
    return Tuning(SMALL, configured(rules))


@settings(deadline=None)
@given(st.integers(1, STEPS), st.integers(0, STEPS), st.floats(0.5, 30))
def test_what_is_sought_is_found(scale: int, start: int, wanted: float) -> None:
    """Of a figure that falls, as near as matters or nearest of all, in few trials."""
    tried = []

    def figure(part: int) -> float:
        tried.append(part)
        return 1 + 20 * scale / (scale + part)

    found = seek(figure, start, wanted)
    nearest = min(abs(1 + 20 * scale / (scale + part) - wanted) for part in range(STEPS + 1))
    missed = abs(1 + 20 * scale / (scale + found) - wanted)
    assert missed <= max(CLOSE * wanted, nearest + 1e-9)
    assert len(tried) <= 50


def test_what_is_so_already_stays() -> None:
    """A threshold or a quantile that was chosen is not moved without need."""
    assert seek(lambda _: 5.0, 1_234, 5.05) == 1_234
    before = tuning().at(tuning()._start).random.len
    _, found = tuning().calibrated(Wanted(random_len=before))
    assert (found.beta_quantile, found.settings) == (SMALL.head.beta_quantile, {})


@pytest.mark.parametrize("rules", [RULES, {"quit_rule": "billp", "limit": 30}])
def test_random_visits_are_as_long_as_is_wanted(rules: Settings) -> None:
    """β alone is moved; items, users and rewards are what they were."""
    made, found = tuning(rules).calibrated(Wanted(random_len=2.5))
    assert close(found.reached.random.len, 2.5)
    assert not close(found.before.random.len, 2.5)
    assert found.settings == {}
    assert made.head.beta_quantile == found.beta_quantile > SMALL.head.beta_quantile
    assert made.head.digest != SMALL.head.digest
    assert made.factors.rewards(3).tolist() == SMALL.factors.rewards(3).tolist()


def test_what_was_found_holds_in_runs(tmp_path: Path) -> None:
    """A run of the bound in the new world, with the settings, is as long as is said."""
    made, found = tuning().calibrated(Wanted(bound_len=20, random_len=2))
    assert close(found.reached.bound.len, 20)
    assert found.settings.keys() == {"quit"}
    rules = merged(RULES, found.settings, {"users": "all", "episodes": 30, "arrivals": "all"})
    run = recorded(tmp_path / "run", environment=made, agent="diverse-greedy", **rules)
    lengths = [one.length for one in only(trace_of(run), EpisodeEnded)]
    assert sum(lengths) / 30 == pytest.approx(found.reached.bound.len, rel=1e-5)


def test_the_same_is_found_each_time() -> None:
    """Nothing in it depends on when it is done."""
    made, found = tuning().calibrated(Wanted(random_len=2))
    again, same = tuning().calibrated(Wanted(random_len=2))
    assert (made.head, found) == (again.head, same)


def test_what_cannot_be_is_said_with_what_can() -> None:
    """The nearest that there is, and where."""
    with pytest.raises(ConfigError, match=r"random's Len cannot be 29 .* is \d") as caught:
        tuning().calibrated(Wanted(random_len=29))
    assert "--set quit.quantile" in caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (Wanted(), "nothing is wanted"),
        (Wanted(random_len=3, random_share=0.1), "as a length or as a share, not both"),
    ],
)
def test_something_must_be_wanted(wanted: Wanted, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        tuning().calibrated(wanted)
