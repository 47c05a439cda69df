"""Two agents side by side: the same users, under the same seeds."""

from sim import RunConfig, compare, run

for agent in ("reflexion", "random"):
    for seed in (1, 2):
        run(RunConfig(agent=agent, seed=seed, episodes=20), out=f"{agent}-{seed}")

comparison = compare(["reflexion-1", "reflexion-2", "random-1", "random-2"])
for group in comparison.groups:
    mean = group.means["r_traj"]
    print(f"{group.label}: R_traj {mean.mean:.1f}, by seed {[own.value for own in mean.by_seed]}")
for pair in comparison.pairs:
    gap = pair.difference
    print(f"{pair.one} - {pair.other}: {gap.mean:+.1f} [{gap.low:+.1f}, {gap.high:+.1f}]")
    print(f"p over seeds {pair.p:.3f}, better for {pair.better:.0%} of these users")
