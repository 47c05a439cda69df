"""The examples are true: each runs by itself, and a README shows it."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support.dying import executed, in_own_process

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path for path in (ROOT / "tests" / "examples").glob("[!_]*.py"))
FIRST = ROOT / "tests" / "examples" / "first_run.py"
READMES = (ROOT / "README.md", *ROOT.glob("*/README.md"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_runs_in_an_empty_directory(example: Path, tmp_path: Path) -> None:
    """In a process of its own, without a warning."""
    said = in_own_process(partial(executed, tmp_path, example), tmp_path)
    assert (said.status, said.err) == (0, "")
    assert said.out


def test_an_example_runs_as_a_reader_would_try_it(tmp_path: Path) -> None:
    """In seconds, with Python and nothing else."""
    command = [sys.executable, "-W", "error", str(FIRST)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: str(path.stem))
def test_an_example_is_named_where_it_belongs(example: Path) -> None:
    named = f"tests/examples/{example.name}"
    assert any(named in readme.read_text("utf-8") for readme in READMES)
