"""A run, run again on its recorded replies; then a trace that somebody has touched."""

from pathlib import Path

from sim import RunConfig, replay, run

run(RunConfig(episodes=10), out="recorded")

replayed = replay("recorded")
print(f"{replayed.envelopes} envelopes agree: {replayed.agrees}, and no model was called")

trace = Path("recorded/trace.jsonl")
trace.write_bytes(trace.read_bytes().replace(b'"left":true', b'"left":false', 1))

(difference,) = replay("recorded").differences
print(difference.sentence)
for line in difference.chain:
    print(f"  because of n {line.n}, {line.message['type']}")
