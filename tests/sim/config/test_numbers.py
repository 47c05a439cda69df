"""Numbers of every kind for every setting that is one: it runs, or one sentence says why not."""

from pathlib import Path

import pytest

from engine.errors import ConfigError
from sim.config.layers import configured, parse_set
from sim.config.run import RunConfig, flat
from sim.runs.run import run
from tests.support.small import synthetic

TINY = {"episodes": 2, "limit": 3, "arrivals": "all", "fsync": "none", "prompts": False}
SETTINGS = [*flat(RunConfig().settings())]
WHOLE = [name for name, value in SETTINGS if type(value) is int]
NUMBERS = [*WHOLE, *(name for name, value in SETTINGS if type(value) is float)]

NEVER = ("inf", "-inf", "nan", "1" + "0" * 400)
"""What no setting can be."""

BEYOND = ("18446744073709551616", "-9223372036854775809")
"""What no whole number can be: it could not be written."""

ODD = ("-0.0", "0", "1e-308", "1e308", "-1e308", "9223372036854775807", "-1")


def of(name: str, number: str) -> RunConfig:
    more = {"sessions": 2} if name == "return_gap" else {}
    return configured(TINY, more, parse_set(f"{name}={number}"))


def test_numbers_are_found() -> None:
    assert {"seed", "limit", "patience", "planner.within", "quit.quantile", "max_cost"} <= {
        *NUMBERS
    }
    assert len(NUMBERS) > 50


@pytest.mark.parametrize("number", [*NEVER, *BEYOND], ids=lambda number: number[:8])
def test_numbers_that_cannot_be_are_refused(number: str) -> None:
    """In one sentence of moderate length, which names the setting."""
    for name in WHOLE if number in BEYOND else NUMBERS:
        with pytest.raises(ConfigError) as caught:
            of(name, number)
        assert name.rpartition(".")[2] in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300


def allowed(number: str) -> list[str]:
    """Return the settings that may be *number*."""
    return [name for name in NUMBERS if may_be(name, number)]


def may_be(name: str, number: str) -> bool:
    try:
        of(name, number)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("number", ODD)
def test_numbers_that_are_allowed_run(number: str, tmp_path: Path) -> None:
    """All of them at once, but for what may stop a run or let it wait."""
    names = allowed(number)
    assert names
    layers = [parse_set(f"{name}={number}") for name in names if not bounds(name)]
    config = configured(TINY, {"repeats": "allow", "quit": {"window": 1}}, *layers)
    assert run(config, environment=synthetic(), out=tmp_path / "run").metrics.len > 0


def bounds(name: str) -> bool:
    return name.startswith("max_") or name.endswith("_per_minute")


@pytest.mark.parametrize("name", ["dwell", "return_gap"])
@pytest.mark.parametrize(
    "number", [*NEVER, *BEYOND, "1e308", "-1.0"], ids=lambda number: number[:8]
)
def test_durations_without_measure_are_refused(name: str, number: str) -> None:
    with pytest.raises(ConfigError, match=name):
        of(name, f"[0, {number}]")


@pytest.mark.parametrize("name", ["planner.requests_per_minute", "tokens_per_minute"])
def test_rates_that_wait_for_ever_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} must be 0, for none, or at least 0\.001"):
        of(name, "1e-308")


def test_a_version_that_looks_like_a_date_is_a_word() -> None:
    """Azure's versions do; no setting is a date."""
    assert configured(parse_set("azure_version=2024-10-21")).azure_version == "2024-10-21"
