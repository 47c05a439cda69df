"""What the actor learned: the experiences that it would recall in a state."""

from pathlib import Path

from agents.billp.memories import EXPERIENCES
from agents.embeddings import hashed
from sim import RunConfig, run
from storage.memory import Memory

run(RunConfig(episodes=40), out="taught")
experiences = Memory.load(Path("taught/memory"), EXPERIENCES)

# A state is the last ten items, each as "title categories": here that of record 30.
state = experiences[30].key
for recall in experiences.view(len(experiences)).recall(state, k=5, within=0.4):
    worth = recall.record.payload
    advice = "encouraged" if worth.advantage >= 0 else "discouraged"
    print(f"{recall.distance:.2f} episode {recall.record.episode}: {worth.title} is {advice}")

nothing_yet = hashed(("nothing yet",))
first = experiences.view(100).recall(nothing_yet, k=100, within=0.0)
print(f"{len(first)} of the first 100 experiences are of the first step of a visit")
