"""A stand-in for sbatch: it runs the tasks of an array as processes, two at a time, and waits.

`python -m tests.support.slurm SCRIPT`, from a script called sbatch. Of the tasks that KILLED names
in the environment the process is killed as soon as its run has a reply in its journal, as where a
node dies. Options that sbatch would read in the script are read from it.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def options(script: str) -> dict[str, str]:
    """Return what the script's own lines tell sbatch."""
    return {
        name: value.strip('"') for name, value in re.findall(r"#SBATCH --([\w-]+)=(.+)", script)
    }


def names(script: str) -> list[str]:
    """Return the cells that the script runs, task by task."""
    found = re.search(r"p\" (\S+)\)", script)
    assert found is not None
    return Path(found[1]).read_text().splitlines()


def task(path: Path, number: int, *, killed: bool) -> None:
    """Run one task; kill it if it is to be *killed*, once it has something to lose."""
    script = path.read_text()
    told = options(script)
    journal = path.parent.parent / names(script)[number] / "calls.jsonl"
    log = Path(told["output"].replace("%a", str(number)))
    with log.open("ab") as out:
        process = subprocess.Popen(
            ["sh", str(path)],
            env={**os.environ, "SLURM_ARRAY_TASK_ID": str(number)},
            cwd=told["chdir"],
            stdout=out,
            stderr=out,
        )
        while killed and process.poll() is None:
            if journal.exists() and journal.stat().st_size:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        process.wait()


def main(arguments: Sequence[str]) -> None:
    """Run all tasks of the script that comes last."""
    path = Path(arguments[-1])
    last = int(options(path.read_text())["array"].partition("%")[0].partition("-")[2])
    killed = {int(number) for number in os.environ.get("KILLED", "").split()}
    with ThreadPoolExecutor(2) as pool:
        for number in range(last + 1):
            pool.submit(task, path, number, killed=number in killed)
    sys.stdout.write("4242;here\n")


if __name__ == "__main__":
    main(sys.argv[1:])
