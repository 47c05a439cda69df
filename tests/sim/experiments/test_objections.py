"""Worlds that nobody should run are told from others, by figures that are said."""

from dataclasses import replace

import msgspec
import pytest

from engine.errors import DataError
from sim.config.layers import configured
from sim.config.run import Settings
from sim.experiments import objections as judged
from sim.experiments.objections import SLACK, check_sound, objections
from storage.datasets.synthetic import build_synthetic
from storage.environments import Environment, Errors, Fit

SMALL = build_synthetic(seed=2, users=30, items=200, categories=8)
LENIENT: Settings = {"quit_rule": "quantile", "quit": {"quantile": 0.2}}


def predicted(model: float, biases: float, mean: float) -> Environment:
    """Return a world whose reward model and simpler ones have such an RMSE."""
    fit = Fit(
        fitted=90,
        held_out=1_090,
        global_mean=Errors(rmse=mean, mae=mean),
        tuned_biases=Errors(rmse=biases, mae=biases),
        model=Errors(rmse=model, mae=model),
    )
    return replace(SMALL, head=msgspec.structs.replace(SMALL.head, fit=fit))


@pytest.mark.parametrize("rmse", [(0.9, 0.95, 1.0), (0.95 * (1 + SLACK), 0.95, 1.0)])
def test_a_world_that_knows_its_people_is_sound(rmse: tuple[float, float, float]) -> None:
    """Biases are tuned on the ratings that they predict: to be level with them is enough."""
    found = objections(predicted(*rmse), configured(LENIENT))
    assert found == []
    check_sound(found)


@pytest.mark.parametrize("rmse", [(0.97, 0.95, 1.0), (1.0, 1.01, 1.0)])
def test_a_model_that_predicts_nothing_is_refused(rmse: tuple[float, float, float]) -> None:
    """One that loses to biases, or to the mean; the sentence has all three figures."""
    (found,) = objections(predicted(*rmse), configured(LENIENT))
    model, biases, mean = rmse
    figures = f"RMSE {model:.3f} against {biases:.3f} of biases and {mean:.3f} of the mean"
    assert figures in found.what
    assert "1,090 held-out ratings" in found.what
    with pytest.raises(DataError, match="nothing was written") as caught:
        check_sound([found])
    assert "--min-user" in caught.value.hint
    assert "--force" in caught.value.hint


@pytest.mark.parametrize(
    "rules",
    [
        {"quit_rule": "billp", "quit": {"lowest": 4.9}},  # a scale that was read wrongly
        {"quit_rule": "quantile", "quit": {"quantile": 1.0}},
    ],
)
def test_a_world_where_nobody_can_stay_is_refused(rules: Settings) -> None:
    """What who knows everything gets is hardly more than chance: the figures say so."""
    (found,) = objections(SMALL, configured(rules))
    assert "diverse-greedy gets R_traj" in found.what
    assert "of 50 steps, random" in found.what
    assert "--scale" in found.hint


def test_a_world_where_all_is_alike_is_refused() -> None:
    """β beyond every distance: the second item bores, whatever it is."""
    alike = replace(SMALL, factors=replace(SMALL.factors, beta_squared=1 << 40))
    assert len(objections(alike, configured(LENIENT))) == 1


def test_large_catalogs_are_judged_by_their_model_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """To play in them costs too much."""
    monkeypatch.setattr(judged, "MOST_ITEMS", 199)
    nobody_stays = configured({"quit_rule": "quantile", "quit": {"quantile": 1.0}})
    assert objections(SMALL, nobody_stays) == []
    assert len(objections(predicted(1.0, 1.0, 1.0), nobody_stays)) == 1
