"""Who answers, and the roof: users, environments, metrics, runs, views, the command line."""

from sim.config import RunConfig
from sim.diff import diff
from sim.fork import fork, fork_async
from sim.replay import replay, replay_async
from sim.resume import resume, resume_async
from sim.run import run, run_async
from sim.verify import verify

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
