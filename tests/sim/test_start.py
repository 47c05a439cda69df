"""What it costs to start: nobody waits for what he does not use."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import billp
import sim
from sim.cli import COMMANDS
from tests.support.dying import in_own_process

PLACES = sorted({f"sim.commands.{place.partition(':')[0]}" for place, _ in COMMANDS.values()})
HELP = """
import contextlib, sim.cli
with contextlib.suppress(SystemExit):
    sim.cli.main(["--help"])
"""
LOOKING = ("memory", "runs", "show", "trace")
LONG = {"aiohttp", "numpy", "openai", "polars", "scipy", "usearch"}


def loaded(code: str) -> set[str]:
    """Return the modules, and the packages that they are in, that *code* loads in a process."""
    code = f"{code}\nimport sys\nprint('loaded', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    modules = done.stdout.rpartition("\nloaded ")[2].split()
    return {*modules, *(name.partition(".")[0] for name in modules)}


@pytest.mark.parametrize("name", ["sim", "billp"])
def test_what_is_offered_is_imported_when_it_is_asked_for(name: str) -> None:
    """Nothing of ours but the list of names, and nothing of others."""
    modules = loaded(f"import {name}")
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
    assert not modules & {"altair", "openai", "opentelemetry", "scipy", "vl_convert"}


def test_who_runs_or_reads_does_not_wait_for_a_service() -> None:
    """What speaks to one is imported when one is spoken to."""
    modules = loaded("from sim import Run, compare, diff, fork, replay, resume, run")
    assert "sim.runs.run" in modules
    assert not modules & {"aiohttp", "httpx2", "openai", "scipy", "typer"}


def test_who_opens_no_environment_does_not_wait_for_tables() -> None:
    """Commands that look at a run, or list them."""
    modules = loaded("\n".join(f"import sim.commands.{name}" for name in LOOKING))
    assert "numpy" in modules
    assert not modules & {"polars", "scipy"}


def test_what_tests_fork_has_imported_the_commands(tmp_path: Path) -> None:
    """A warm process that was not would go unnoticed: it is only slow."""
    assert in_own_process(tell_modules, tmp_path / "any").out.split() == PLACES


def tell_modules() -> None:
    sys.stdout.write(" ".join(sorted(sys.modules.keys() & PLACES)))


@pytest.mark.parametrize("module", [sim, billp])
def test_every_name_that_is_offered_is_there(module: ModuleType) -> None:
    """Under its own name, the same in both, and listed for whoever presses the tab key."""
    assert module.__all__ == sim.__all__
    assert set(sim.__all__) <= set(dir(module))
    assert [getattr(module, name).__name__ for name in sim.__all__] == sim.__all__


@pytest.mark.parametrize("module", [sim, billp])
def test_a_name_that_is_not_offered_is_an_error_as_usual(module: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nons"):
        module.__getattr__("nonsense")


def test_the_module_is_the_command() -> None:
    words = [sys.executable, "-m", "billp", "--version"]
    done = subprocess.run(words, capture_output=True, check=True, text=True)
    assert done.stdout == f"billp {version('billp')}\n"
