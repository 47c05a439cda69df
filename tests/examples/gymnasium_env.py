"""The simulated world as an environment of Gymnasium: one visit, and a thousand at once."""

import gymnasium

env = gymnasium.make("sim.gym:billp/Recommend-v0", environment="synthetic", config={"limit": 20})
observation, info = env.reset(seed=1)
env.action_space.seed(1)
terminated = truncated = False
total = 0.0
while not (terminated or truncated):
    item = env.action_space.sample(info["action_mask"])  # what was not shown yet
    observation, reward, terminated, truncated, info = env.step(item)
    total += float(reward)
steps, ending = int(observation["step"][0]), info.get("reason", "the limit")
print(f"user {info['user']}: {total:.1f} in {steps} steps, then {ending}")

many = gymnasium.make_vec("sim.gym:billp/Recommend-v0", num_envs=1_000, config={"users": "test"})
_, infos = many.reset(seed=1)
_, rewards, left, _, _ = many.step(infos["action_mask"].argmax(axis=1))
print(
    f"the first item of the catalog: {rewards.mean():.2f} to 1,000 users, of whom {left.sum()} left"
)
