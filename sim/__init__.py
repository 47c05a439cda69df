"""Who answers, and the roof: users, environments, metrics, runs, views, the command line."""

from sim.config import RunConfig
from sim.diff import diff
from sim.fork import fork
from sim.replay import replay
from sim.resume import resume
from sim.run import run
from sim.verify import verify

__all__ = ["RunConfig", "diff", "fork", "replay", "resume", "run", "verify"]
