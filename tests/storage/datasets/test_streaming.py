"""A source need not fit into memory: of each row some bytes are held, however wide it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from storage.datasets.draws import integers

BUILD = """
import sys
from pathlib import Path
from storage.datasets import Recipe, build_environment
made = build_environment("csv", Path(sys.argv[1]), Recipe(dimensions=2), name="wide")
print(made.head.interactions + made.head.provenance.left_out.merged)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
ROWS = 1_000_000
MOST = 120
"""Bytes a row: 24 are its interaction, the rest comes and goes; 72 to 97 were measured."""


def wide(path: Path, rows: int) -> Path:
    """Write a table of *rows*, of about 300 bytes each."""
    columns = [
        integers(0, purpose, rows, below).tolist()
        for purpose, below in (
            ("users", 20_000),
            ("items", 5_000),
            ("ratings", 5),
            ("times", 10**9),
        )
    ]
    note = "what somebody wrote " * 13
    with path.open("w") as file:
        file.write("user,item,rating,time,note\n")
        for user, item, rating, time in zip(*columns, strict=True):
            file.write(f"user {user},item {item},{rating},{time},{note}\n")
    return path


def built(path: Path) -> tuple[int, int]:
    """Return how many rows were read, and the bytes that the process held at its peak."""
    done = subprocess.run([sys.executable, "-c", BUILD, path], capture_output=True, check=True)
    rows, kilobytes = map(int, done.stdout.split())
    return rows, kilobytes * 1024


@pytest.mark.slow
def test_memory_goes_by_rows_and_not_by_bytes(tmp_path: Path) -> None:
    """300 MB cost what their rows cost; by that, 10 GB of as wide rows come to some 4."""
    small, large = wide(tmp_path / "small.csv", ROWS // 4), wide(tmp_path / "large.csv", ROWS)
    (few, little), (many, much) = built(small), built(large)
    assert (few, many) == (ROWS // 4, ROWS)
    assert large.stat().st_size > 290e6
    assert (much - little) / (many - few) < MOST
