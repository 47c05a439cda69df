"""Records the golden traces anew: `python -m tests.support.golden`. Say why in the commit.

`python -m tests.support.golden smollm2` records that of a real model, where one is installed; each
time its replies are others.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sim.config.layers import configured, read_config
from sim.runs.fork import fork
from sim.runs.run import run
from storage.manifest import write_manifest
from storage.runs import RunDirectory

TRACES = Path(__file__).parents[2] / "traces"
KEPT = ("run.toml", "trace.jsonl", "calls.jsonl", "summary.json")

RUNS = (
    *("synthetic-billp", "synthetic-returning", "synthetic-diverse-greedy"),
    "synthetic-default",
)
FORKED = "synthetic-forked"


def record(name: str, scratch: Path) -> None:
    """Run a golden run again."""
    run(configured(read_config(TRACES / name / "run.toml")), out=scratch / name)


def record_fork(scratch: Path) -> None:
    """Fork the first golden run: other quit rule, and words of the planner."""
    fork(
        scratch / RUNS[0],
        (3, 2),
        settings=[{"quit": {"window": 2}, "prompts": False}],
        say={"planner": "Take what nobody has tried."},
        out=scratch / FORKED,
    )


def main(*names: str) -> None:
    """Record those called so, or all that need no real model; keep what is kept of a run."""
    with TemporaryDirectory() as directory:
        scratch = Path(directory)
        for name in names or RUNS:
            record(name, scratch)
        if not names:
            record_fork(scratch)
        for name in names or (*RUNS, FORKED):
            place = TRACES / name
            shutil.rmtree(place)
            place.mkdir()
            for kept in KEPT:
                text = (scratch / name / kept).read_bytes()
                (place / kept).write_bytes(text.replace(directory.encode(), b"traces"))
            write_manifest(RunDirectory(place))


if __name__ == "__main__":
    main(*sys.argv[1:])
