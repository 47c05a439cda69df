"""A run in a process of its own that waits for a service that does not answer any more."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from sim.config.layers import configured
from sim.runs.run import run
from storage.journal import read_entries
from storage.runs import RunDirectory
from storage.traces import survey
from tests.support.dying import PATIENCE, SMALL, Living, living

EPISODES: dict[str, Any] = {**SMALL, "episodes": 6, "prompts": False}
"""Three batches of two: the first ends, the second is under way, the third waits."""

HEARD = 4
"""Calls of each episode of the second batch that are answered: two values, a thought, an action."""


@dataclass(frozen=True)
class Silent:
    """The embedded model, which answers no planner from the second step of the third episode on."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        call = request.call
        if call.episode >= 2 and call.role == "planner" and call.step:
            await anyio.sleep_forever()
        return await self.model.reply(request)


def _run(out: Path) -> None:
    run(configured(EPISODES), out=out, model=Silent())


@contextmanager
def underway(out: Path) -> Iterator[Living]:
    """Run until nothing is answered any more, and wait."""
    with living(partial(_run, out), out) as process:
        patience = time.monotonic() + PATIENCE
        while not _is_silent(RunDirectory(out)):
            assert time.monotonic() < patience
            time.sleep(0.02)  # another process: there is no event to wait for
        yield process


def _is_silent(directory: RunDirectory) -> bool:
    if not (directory.journal.exists() and directory.trace.exists()):
        return False
    calls = Counter(getattr(entry, "user", None) for entry in read_entries(directory.journal))
    # In the order in which they were first heard: the second batch comes after the first.
    batch = [count for _, count in [*calls.items()][2:]]
    return batch == [HEARD, HEARD] and survey(directory.trace).place_of(1) is not None
