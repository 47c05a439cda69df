"""The examples are true: each runs by itself, and a README shows it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path for path in (ROOT / "tests" / "examples").glob("[!_]*.py"))
READMES = (ROOT / "README.md", *ROOT.glob("*/README.md"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_runs_in_an_empty_directory(example: Path, tmp_path: Path) -> None:
    """In a process of its own and in seconds, as a reader would try it."""
    command = [sys.executable, "-W", "error", str(example)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_is_named_where_it_belongs(example: Path) -> None:
    named = f"tests/examples/{example.name}"
    assert any(named in readme.read_text("utf-8") for readme in READMES)
