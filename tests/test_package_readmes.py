"""The READMEs of the packages are true: their commands work, their Python is that of examples."""

import re
import shutil
import subprocess
import sys
from os import environ, pathsep
from pathlib import Path

import pytest

from tests.test_examples import EXAMPLES

ROOT = Path(__file__).parents[1]
READMES = sorted(ROOT.glob("*/README.md"))
GOLDEN = [path.parent for path in ROOT.glob("traces/*/trace.jsonl")]

readmes = pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.parent.name))


def blocks(readme: Path, kind: str) -> list[str]:
    return re.findall(rf"(?ms)^```{kind}\n(.*?)^```", readme.read_text("utf-8"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a reader's commands find in a checkout: golden traces and examples."""
    for golden in GOLDEN:
        shutil.copytree(golden, tmp_path / "traces" / golden.name)
    shutil.copytree(ROOT / "tests" / "examples", tmp_path / "tests" / "examples")
    return tmp_path


@readmes
def test_the_commands_of_a_readme_work(readme: Path, checkout: Path) -> None:
    """In the order in which a reader would type them."""
    for text in blocks(readme, "toml"):
        (checkout / text.split()[1]).write_text(text)
    path = f"{Path(sys.executable).parent}{pathsep}{environ['PATH']}"
    for command in "".join(blocks(readme, "sh")).splitlines():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=checkout,
            env={**environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@readmes
def test_the_python_of_a_readme_is_that_of_an_example(readme: Path) -> None:
    """So that it runs: what a README shows is a passage of a script."""
    scripts = [example.read_text("utf-8") for example in EXAMPLES]
    for shown in blocks(readme, "python"):
        assert any(shown in script for script in scripts), shown
