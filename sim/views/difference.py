"""Where a replay parts from its record, as people read it."""

from collections.abc import Iterator
from difflib import unified_diff
from typing import Any

import msgspec

from sim.runs.divergence import Difference, Line, short
from sim.runs.lost import is_unrecorded
from sim.runs.replay import Replay
from storage.prompt_texts import PromptText

_LONG = 60

PUBLISHERS = {
    "RunStarted": "roof",
    "RunEnded": "roof",
    "EpisodeStarted": "scheduler",
    "PlanRequested": "user",
    "UserResponded": "user",
    "EpisodeEnded": "user",
    "EpisodeSettled": "scheduler",
    "MemoryWritten": "memories",
    "EpisodeFailed": "kernel",
    "HandlerFailed": "kernel",
}
"""Who publishes what, beside the agent; a model's reply is published for the role that asked."""


def publisher(replay: Replay, line: Line) -> str:
    """Return who published the message of *line*: the role whose it is, if the agent says so."""
    kind = str(line.message.get("type"))
    own = PUBLISHERS.get(kind) or replay.publishers.get(kind)
    return own or str(line.message.get("role", "agent"))


def told(replay: Replay, difference: Difference) -> str:
    """Return a difference with both values and the chain of causes above it."""
    lines = [difference.sentence, *_values(replay, difference)]
    if difference.chain:
        lines.append("caused by:")
        lines += [f"  {_cause(replay, line)}" for line in difference.chain]
    return "\n".join(lines)


def _values(replay: Replay, difference: Difference) -> Iterator[str]:
    prompts = replay.prompts.get(difference.recorded) if difference.field == "request" else None
    if prompts is not None:
        yield from _prompt_diff(*prompts)
        return
    if difference.line is not None and is_unrecorded(difference.line):
        yield "nobody made that call when the run was recorded, so there is no reply to it"
    recorded, got = (_text(value) for value in (difference.recorded, difference.got))
    if max(len(recorded), len(got)) > _LONG:
        yield from _diff(recorded, got)


def _prompt_diff(recorded: PromptText | None, got: PromptText) -> Iterator[str]:
    if recorded is None:
        yield "the recorded prompt was not kept (prompts = false, or lost in a crash); the new one:"
        yield f"{got.system}\n\n{got.text}"
        return
    yield "the prompts differ:"
    yield from _diff(f"{recorded.system}\n\n{recorded.text}", f"{got.system}\n\n{got.text}")


def _diff(recorded: str, got: str) -> Iterator[str]:
    lines = unified_diff(
        recorded.splitlines(), got.splitlines(), "recorded", "got", lineterm="", n=2
    )
    for line in lines:
        yield f"  {line}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _cause(replay: Replay, line: Line) -> str:
    facts = {name: value for name, value in line.message.items() if name != "type"}
    shown = ", ".join(f"{name}={short(value)}" for name, value in facts.items())
    kind = str(line.message.get("type"))
    text = f"n {line.n}  {kind} by {publisher(replay, line)}: {shown}"
    return text if len(text) <= 160 else f"{text[:159]}…"
