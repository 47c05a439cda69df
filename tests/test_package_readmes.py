"""The READMEs of the packages are true: what they type, show and point to is run and is there."""

import re
import shlex
import shutil
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import pytest

from agents.models.providers import PROVIDERS
from agents.roster import AGENTS
from sim.metrics.own import METRICS
from sim.runs.listeners import LISTENERS
from sim.runs.watching import VIEWS
from sim.world.quitting import QUIT_RULES
from storage.datasets import FORMATS
from tests.support.dying import in_own_process, typed
from tests.support.reading import Reader
from tests.support.shell import Shell
from tests.test_examples import EXAMPLES

ROOT = Path(__file__).parents[1]
READMES = sorted(ROOT.glob("*/README.md"))
OPEN = (AGENTS, METRICS, QUIT_RULES, FORMATS, PROVIDERS, LISTENERS, VIEWS)
PAGES = (*sorted(ROOT.glob("*.md")), *READMES)
TRAIN = "billp train "
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
def test_the_commands_of_a_readme_work(
    readme: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order in which a reader would type them."""
    for text in blocks(readme, "toml"):
        (checkout / text.split()[1]).write_text(text)
    reader = Reader(checkout, Shell(capsys))
    for line in filter(None, "".join(blocks(readme, "sh")).splitlines()):
        reader.types(line)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tianshou") is None, reason="needs the extra rl")
def test_the_commands_that_train_work(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of `sim`, in the order in which a reader would type them; they need torch."""
    reader = Reader(checkout, Shell(capsys))
    lines = "".join(blocks(ROOT / "sim" / "README.md", "bash")).splitlines()
    assert any(line.startswith(TRAIN) for line in lines)
    for trains, typed_together in groupby(lines, lambda line: line.startswith(TRAIN)):
        if trains:
            work = partial(_trained, checkout, list(typed_together))
            said = in_own_process(work, checkout)
            assert said.status == 0, said
        else:
            for line in typed_together:
                reader.types(line)


def _trained(here: Path, lines: list[str]) -> None:
    """Type *lines* in processes that are forked from one that has torch: it takes seconds."""
    for module in ("sim.training.trainer", "torch._dynamo"):
        import_module(module)
    for line in lines:
        one = get_context("fork").Process(target=typed, args=(here, shlex.split(line)[1:]))
        one.start()
        one.join()
        assert one.exitcode == 0, line


@readmes
def test_the_python_of_a_readme_is_that_of_an_example(readme: Path) -> None:
    """So that it runs: what a README shows is a passage of a script."""
    scripts = [example.read_text("utf-8") for example in EXAMPLES]
    for shown in blocks(readme, "python"):
        assert any(shown in script for script in scripts), shown


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_points_to_is_there(page: Path) -> None:
    """Links, and modules that are named by their path in the project, the package or its tests."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text("utf-8"))
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    modules = re.findall(r"`([\w/]+\.py)`", text)
    rooms = (ROOT, page.parent, ROOT / "tests" / page.parent.name)
    lost = [link for link in links if not (page.parent / link).exists()]
    lost += [name for name in modules if not any((room / name).exists() for room in rooms)]
    assert lost == []


@pytest.mark.parametrize(
    "group", [p.group for p in (AGENTS, METRICS, QUIT_RULES, FORMATS, PROVIDERS)]
)
def test_a_newcomer_is_told_of_every_open_list(group: str) -> None:
    """Each has a row, with the entry point by which others add to it and an example."""
    lines = (ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines()
    (row,) = (line for line in lines if f"| `{group}` |" in line)
    assert "tests/examples/" in row
