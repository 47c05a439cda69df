"""Who thinks: planner, actor, critic, reflector, baselines, tools, access to models."""
