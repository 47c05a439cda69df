"""A trace, message by message: an episode as the tree of causes that it is."""

from pathlib import Path

from engine.messages import ActionTaken, EpisodeEnded, UserResponded
from sim import RunConfig, run
from storage.traces import digest_of, read_episode, read_head, read_trace

trace = Path("read/trace.jsonl")
summary = run(RunConfig(episodes=10), out=trace.parent)

head = read_head(trace)
print(f"{head.agent} with {head.model}, seed {head.seed}, schema {head.schema}")

depths: dict[int, int] = {}
for envelope in read_episode(trace, 3):
    depth = 0 if envelope.cause is None else depths[envelope.cause] + 1
    depths[envelope.n] = depth
    match envelope.message:
        case ActionTaken(title=title):
            text = title
        case UserResponded(reward=reward, reason=reason):
            text = f"{reward:.2f} {reason or ''}"
        case other:
            text = ""
    print(f"{envelope.time:>7} ms {'. ' * depth}{type(envelope.message).__name__} {text}")

ended = [e.message for e in read_trace(trace) if isinstance(e.message, EpisodeEnded)]
print(f"{len(ended)} episodes, {sum(message.length for message in ended)} steps")
assert digest_of(trace) == summary.digest
