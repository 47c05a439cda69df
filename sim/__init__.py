"""Who answers, and the roof: users, environments, metrics, runs, views, the command line."""

from sim.analysis.diff import diff
from sim.config.run import RunConfig
from sim.runs.fork import fork, fork_async
from sim.runs.replay import replay, replay_async
from sim.runs.resume import resume, resume_async
from sim.runs.run import run, run_async
from sim.verification.verify import verify

__all__ = [
    "RunConfig",
    "diff",
    "fork",
    "fork_async",
    "replay",
    "replay_async",
    "resume",
    "resume_async",
    "run",
    "run_async",
    "verify",
]
