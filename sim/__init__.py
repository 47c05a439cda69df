"""Who answers, and the roof: users, environments, metrics, runs, views, the command line.

What `sim` offers is imported when it is asked for: a program that reads a run does not wait for
what a run needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "Experiment",
    "Run",
    "RunConfig",
    "blame",
    "blame_async",
    "compare",
    "critique",
    "diff",
    "experiment",
    "experiment_async",
    "fork",
    "fork_async",
    "live",
    "pull",
    "pull_async",
    "push",
    "push_async",
    "replay",
    "replay_async",
    "resume",
    "resume_async",
    "run",
    "run_async",
    "verify",
]

_WHERE = {
    "Experiment": "sim.experiments.experiment",
    "Run": "sim.library.run",
    "RunConfig": "sim.config.run",
    "blame": "sim.experiments.blame.blaming",
    "blame_async": "sim.experiments.blame.blaming",
    "compare": "sim.analysis.compare",
    "critique": "sim.experiments.critique",
    "diff": "sim.analysis.diff",
    "experiment": "sim.experiments.conduct",
    "experiment_async": "sim.experiments.conduct",
    "fork": "sim.runs.fork",
    "fork_async": "sim.runs.fork",
    "live": "sim.library.live",
    "pull": "sim.library.objects",
    "pull_async": "sim.library.objects",
    "push": "sim.library.objects",
    "push_async": "sim.library.objects",
    "replay": "sim.runs.replay",
    "replay_async": "sim.runs.replay",
    "resume": "sim.runs.resume",
    "resume_async": "sim.runs.resume",
    "run": "sim.runs.run",
    "run_async": "sim.runs.run",
    "verify": "sim.verification.verify",
}

if TYPE_CHECKING:  # breaks no circle: it lets types see what is imported when it is asked for
    from sim.analysis.compare import compare
    from sim.analysis.diff import diff
    from sim.config.run import RunConfig
    from sim.experiments.blame.blaming import blame, blame_async
    from sim.experiments.conduct import experiment, experiment_async
    from sim.experiments.critique import critique
    from sim.experiments.experiment import Experiment
    from sim.library.live import live
    from sim.library.objects import pull, pull_async, push, push_async
    from sim.library.run import Run
    from sim.runs.fork import fork, fork_async
    from sim.runs.replay import replay, replay_async
    from sim.runs.resume import resume, resume_async
    from sim.runs.run import run, run_async
    from sim.verification.verify import verify
else:

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
