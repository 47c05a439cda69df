"""What it costs a run to be watched: `pytest tests/bench/test_bench_dashboard.py -s`.

The same run, watched and not, in turns, each in a process of its own; CPU seconds of that process,
since what costs a run its throughput is what keeps its loop from other work. Who watches is a
process beside it that takes all events, as a browser does.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from tests.support.small import PAPER

RUN = """
import json, resource, sys
import anyio
from sim.config.layers import configured
from sim.runs.run import run
from sim.views.web.dashboard import DashboardView

watched, out, settings = sys.argv[1] == "watched", sys.argv[2], json.loads(sys.argv[3])

class Told:
    def print(self, text):
        print(text.split()[-1], file=sys.stderr, flush=True)

views = [DashboardView(console=Told())] if watched else []
before = resource.getrusage(resource.RUSAGE_SELF)
summary = run(configured(settings), out=out, views=views)
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                  summary.seconds, summary.digest]))
"""

WATCH = """
import sys, urllib.request
address = sys.argv[1].replace("/run/", "/events/")
print(sum(1 for line in urllib.request.urlopen(address) if line.startswith(b"event: tick")))
"""

SETTINGS = {**PAPER, "episodes": 1_500, "arrivals": "all", "prompts": False, "fsync": "none"}
TIMES = 5


def ran(out: Path, *, watched: bool) -> tuple[float, float, str, int]:
    """Return the CPU seconds of a run, its own seconds, its digest, and what was heard of it."""
    word = "watched" if watched else "alone"
    words = [sys.executable, "-c", RUN, word, str(out), json.dumps(SETTINGS)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    ticks = 0
    if watched:
        url = process.stderr.readline().strip()
        told = subprocess.check_output([sys.executable, "-c", WATCH, url], text=True)
        ticks = int(told)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    cpu, seconds, digest = json.loads(said)
    return cpu, seconds, digest, ticks


def test_what_a_dashboard_costs(tmp_path: Path) -> None:
    ratios, digests = [], set()
    for turn in range(TIMES):
        alone = ran(tmp_path / f"alone-{turn}", watched=False)
        watched = ran(tmp_path / f"watched-{turn}", watched=True)
        digests |= {alone[2], watched[2]}
        ratios.append(watched[0] / alone[0])
        sys.stdout.write(
            f"\n{alone[0]:.2f} s alone, {watched[0]:.2f} s watched, {watched[3]} ticks"
        )
    told = f"CPU of a run that is watched: {median(ratios):.3f} times as much"
    sys.stdout.write(f"\n{told} (median of {TIMES})\n")
    assert len(digests) == 1
