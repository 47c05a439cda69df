"""A first run, offline, and what came of it."""

from hashlib import sha256
from pathlib import Path

from sim import RunConfig, run

summary = run(RunConfig(episodes=20, seed=7), out="first")
metrics = summary.metrics

print(f"{metrics.episodes} episodes by {metrics.users} users, {metrics.steps} recommendations")
print(f"Len {metrics.len:.1f}, R_each {metrics.r_each:.2f}, R_traj {metrics.r_traj:.1f}")
print(f"why episodes ended: {metrics.quits}")
for band in metrics.by_step:
    print(f"steps {band.first}-{band.last}: {band.episodes} got there, {band.left:.0%} left")

assert sha256(Path("first/trace.jsonl").read_bytes()).hexdigest() == summary.digest
