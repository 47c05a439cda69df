"""The command line itself: its version, and what it costs to start."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.support.shell import Shell


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert Shell(capsys).fine("--version") == f"billp {version('billp')}\n"


def test_what_takes_long_to_import_is_imported_where_it_is_used() -> None:
    """The SDK of a service, figures and telemetry: most commands need none of them."""
    code = "import sys, sim.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert "sim" in roots
    assert not roots & {"openai", "matplotlib", "opentelemetry", "scipy"}
