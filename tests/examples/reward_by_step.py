"""A metric of one's own: how rewards fare along a visit, live and over the recorded run."""

from collections import defaultdict

from engine.messages import Envelope, UserResponded
from sim import RunConfig, replay, run


class RewardByStep:
    hears = UserResponded

    def __init__(self) -> None:
        self.rewards: dict[int, list[float]] = defaultdict(list)

    def __call__(self, envelope: Envelope[UserResponded]) -> None:
        self.rewards[envelope.message.step].append(envelope.message.reward)

    def result(self) -> dict[int, float]:
        return {step: sum(known) / len(known) for step, known in self.rewards.items()}


summary = run(RunConfig(episodes=20), out="heard", listeners={"mine": RewardByStep()})
replayed = replay("heard", listeners={"mine": RewardByStep()})

for step, reward in summary.listeners["mine"].items():
    print(f"step {step}: mean reward {reward:.2f}")
assert replayed.listeners == summary.listeners
