"""What it costs to start: nobody waits for what he does not use."""

import subprocess
import sys

import pytest

import sim
from sim.cli import COMMANDS

PLACES = sorted({f"sim.commands.{place.partition(':')[0]}" for place, _ in COMMANDS.values()})
HELP = """
import contextlib, sim.cli
with contextlib.suppress(SystemExit):
    sim.cli.main(["--help"])
"""
LONG = {"aiohttp", "numpy", "openai", "polars", "scipy", "usearch"}


def loaded(code: str) -> set[str]:
    """Return the modules, and the packages that they are in, that *code* loads in a process."""
    code = f"{code}\nimport sys\nprint('loaded', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    modules = done.stdout.rpartition("\nloaded ")[2].split()
    return {*modules, *(name.partition(".")[0] for name in modules)}


def test_what_sim_offers_is_imported_when_it_is_asked_for() -> None:
    """Nothing of ours but the list of names, and nothing of others."""
    modules = loaded("import sim")
    assert not modules & (LONG | {"rich", "typer", "msgspec", "anyio", "engine"})


def test_a_list_of_all_commands_imports_none() -> None:
    """Nor what most of them need."""
    modules = loaded(HELP)
    assert "sim.cli" in modules
    assert not modules & (LONG | set(PLACES))


def test_what_takes_long_to_import_is_imported_where_it_is_used() -> None:
    """The SDK of a service, figures and telemetry: most commands need none of them."""
    modules = loaded("\n".join(f"import {place}" for place in PLACES))
    assert set(PLACES) < modules
    assert not modules & {"openai", "matplotlib", "opentelemetry", "scipy"}


def test_every_name_that_sim_offers_is_there() -> None:
    """Under its own name, and listed for whoever presses the tab key."""
    assert set(sim.__all__) <= set(dir(sim))
    assert [getattr(sim, name).__name__ for name in sim.__all__] == sim.__all__


def test_a_name_that_sim_does_not_offer_is_an_error_as_usual() -> None:
    with pytest.raises(AttributeError, match="module 'sim' has no attribute 'nonsense'"):
        vars(sim)["__getattr__"]("nonsense")
