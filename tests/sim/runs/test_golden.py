"""Golden traces: recorded runs that must come out the same, to the byte, on every machine."""

from hashlib import sha256
from pathlib import Path

import pytest

from sim.config.layers import configured
from sim.runs.replay import replay
from sim.runs.run import run
from storage.runs import open_run

TRACES = Path(__file__).parents[3] / "traces"
GOLDEN = sorted(path.parent for path in TRACES.glob("*/trace.jsonl"))


def test_there_are_golden_traces() -> None:
    """An empty list would be agreed with by everything."""
    assert {path.name for path in GOLDEN} >= {"synthetic-billp", "synthetic-returning"}


@pytest.mark.parametrize(
    "golden",
    [path for path in GOLDEN if "[[forks]]" not in (path / "run.toml").read_text()],
    ids=lambda path: str(path.name),
)
def test_a_golden_run_comes_out_the_same(golden: Path, tmp_path: Path) -> None:
    """run.toml is all that is needed to make the same bytes again, anywhere."""
    config = configured(open_run(golden).read_config())
    run(config, out=tmp_path / "run")
    assert (tmp_path / "run" / "trace.jsonl").read_bytes() == (golden / "trace.jsonl").read_bytes()


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: str(path.name))
def test_a_golden_run_replays(golden: Path) -> None:
    """From its journal, with nobody called: a fork from the calls of both its stages."""
    replayed = replay(golden)
    assert (replayed.agrees, replayed.whole) == (True, True)
    assert replayed.digest == sha256((golden / "trace.jsonl").read_bytes()).hexdigest()


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: str(path.name))
def test_golden_traces_are_small(golden: Path) -> None:
    """They are kept with the code: less than a megabyte each."""
    assert (golden / "trace.jsonl").stat().st_size < 1_000_000
