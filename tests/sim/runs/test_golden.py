"""Golden traces: recorded runs that must come out the same, to the byte, on every machine."""

from hashlib import sha256
from pathlib import Path

import pytest

from sim.config.layers import configured
from sim.runs.replay import replay
from sim.runs.run import run
from storage.runs import open_run

pytestmark = pytest.mark.digests

TRACES = Path(__file__).parents[3] / "traces"
GOLDEN = sorted(path.parent for path in TRACES.glob("*/trace.jsonl"))


def test_there_are_golden_traces() -> None:
    """An empty list would be agreed with by everything."""
    assert {path.name for path in GOLDEN} >= {"synthetic-billp", "synthetic-returning"}
    assert {path.name for path in GOLDEN if not made_by_us(path)} == {"synthetic-forked", "smollm2"}


def made_by_us(golden: Path) -> bool:
    """Tell whether a run can be made again: it is no fork, and no real model answered in it."""
    told = (golden / "run.toml").read_text()
    return "[[forks]]" not in told and 'model = "embedded"' in told


@pytest.mark.parametrize(
    "golden", [path for path in GOLDEN if made_by_us(path)], ids=lambda path: str(path.name)
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
    sizes = [(golden / name).stat().st_size for name in ("trace.jsonl", "calls.jsonl")]
    assert sum(sizes) < 1_000_000
