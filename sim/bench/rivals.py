"""Others that do alike, in environments of their own that are thrown away afterwards.

Each is installed by pip where nothing else is, so that none can change what another needs, nor what
billp has. Their scripts do what our jobs do, and tell processor time for it.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.errors import BillpError
from sim.bench.children import Job, Measurer, job, last_line
from sim.bench.cost import Cost, times, typical
from sim.bench.figures import Chapter, Figure, micros, rate

NAME = "rivals"
"""The chapter's name."""

_ROUNDS = 2

_MEASURE = """
import asyncio, json, sys, time
COUNT = int(sys.argv[1])
THOUGHT = "Take something else than puzzles, with a story and not too long."

def tell(seconds, wall):
    cost = {"count": COUNT, "seconds": time.process_time() - seconds}
    print(json.dumps({**cost, "wall": time.perf_counter() - wall}))
"""

_AUTOGEN = """
from dataclasses import dataclass
from autogen_core import (
    DefaultTopicId, MessageContext, RoutedAgent, SingleThreadedAgentRuntime,
    default_subscription, message_handler,
)

@dataclass
class PlanMade:
    step: int
    thought: str

@default_subscription
class Hearer(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("hears")

    @message_handler
    async def hear(self, message: PlanMade, ctx: MessageContext) -> None:
        pass

async def main():
    runtime = SingleThreadedAgentRuntime()
    for name in ("first", "second", "third"):
        await Hearer.register(runtime, name, Hearer)
    runtime.start()
    seconds, wall = time.process_time(), time.perf_counter()
    for step in range(COUNT):
        await runtime.publish_message(PlanMade(step, THOUGHT), DefaultTopicId())
    await runtime.stop_when_idle()
    tell(seconds, wall)

asyncio.run(main())
"""

_LLAMA = """
from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent

class PlanMade(Event):
    step: int
    thought: str

class Heard(Workflow):
    @step
    async def begin(self, ctx: Context, event: StartEvent) -> PlanMade:
        return PlanMade(step=0, thought=THOUGHT)

    @step
    async def plan(self, ctx: Context, event: PlanMade) -> PlanMade | StopEvent:
        if event.step + 1 == COUNT:
            return StopEvent(result=COUNT)
        return PlanMade(step=event.step + 1, thought=THOUGHT)

    @step
    async def look(self, ctx: Context, event: PlanMade) -> None:
        pass

    @step
    async def look_again(self, ctx: Context, event: PlanMade) -> None:
        pass

async def main():
    seconds, wall = time.process_time(), time.perf_counter()
    await Heard(timeout=None).run()
    tell(seconds, wall)

asyncio.run(main())
"""

_BUBUS = """
from bubus import BaseEvent, EventBus

class PlanMade(BaseEvent):
    step: int
    thought: str

async def first(event: PlanMade) -> None:
    pass

async def second(event: PlanMade) -> None:
    pass

async def third(event: PlanMade) -> None:
    pass

async def main():
    bus = EventBus(name="bench")
    for hear in (first, second, third):
        bus.on(PlanMade, hear)
    seconds, wall = time.process_time(), time.perf_counter()
    for step in range(COUNT):
        await bus.dispatch(PlanMade(step=step, thought=THOUGHT))
    tell(seconds, wall)
    await bus.stop()

asyncio.run(main())
"""

_INSPECT = """
import tempfile
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.solver import generate

def answer(*asked):
    output = ModelOutput.from_content("mockllm/model", "Take Portal 2. " * 6)
    # Else tokens are counted, by tables that are fetched from elsewhere.
    output.usage = ModelUsage(input_tokens=300, output_tokens=40, total_tokens=340)
    return output

LINES = "- Half-Life 2 | Action, Shooter | 4.5\\n" * 30

def evaluated(count, logs):
    samples = [Sample(input=f"User {number} was shown:\\n{LINES}") for number in range(count)]
    logged, = eval(
        Task(dataset=samples, solver=generate()),
        model=get_model("mockllm/model", custom_outputs=answer),
        display="none", log_dir=logs, log_level="error",
    )
    assert logged.status == "success", logged.error.message

with tempfile.TemporaryDirectory() as logs:
    evaluated(5, logs)
    seconds, wall = time.process_time(), time.perf_counter()
    evaluated(COUNT, logs)
    tell(seconds, wall)
"""


@dataclass(frozen=True)
class Rival:
    """Who does *count* of what a *yardstick* of ours does, by a *script*, once pip has a *package*.

    *what* it does stands in the book.
    """

    package: str
    script: str
    count: int
    calls: bool = False

    def yardstick(self, measurer: Measurer) -> Job:
        """Return the job of ours that does the same."""
        sizes = measurer.sizes
        if self.calls:
            return job("calls", "through_access", calls=sizes.calls, cache=False)
        return job("messages", "through_bus", messages=sizes.messages)


RIVALS = (
    Rival("autogen-core", _AUTOGEN, 5_000),
    Rival("llama-index-workflows", _LLAMA, 2_000),
    Rival("bubus", _BUBUS, 300),
    Rival("inspect_ai", _INSPECT, 1_000, calls=True),
)
"""Whom we know to send messages to handlers, or calls to an instant model, as agents need them."""


def rivals(measurer: Measurer, known: Sequence[Rival] = RIVALS) -> Chapter:
    """Return the chapter of *known* rivals; who cannot be measured is left out, and named."""
    figures, notes = list[Figure](), list[str]()
    for rival in known:
        measurer.told(f"pip install {rival.package}")
        place = measurer.scratch / rival.package
        try:
            figures.append(_figure(rival, _installed(place, rival.package), measurer))
        except BillpError as error:
            notes.append(f"{rival.package} was left out: {error}.")
    return Chapter(
        name=NAME,
        title="Others that do alike",
        how="Each in an environment of its own, made by pip for this. Messages have three "
        "handlers, ours with the trace; calls are of a model that replies at once, of inspect_ai "
        "in an evaluation with its log, ours through guards and journal.",
        figures=tuple(figures),
        notes=tuple(notes),
    )


def _installed(place: Path, package: str) -> Path:
    """Return the Python of an environment made at *place*, with a *package*; raises BillpError."""
    python = place / "bin" / "python"
    _said([sys.executable, "-m", "venv", str(place)], "no environment can be made")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
    _said(pip, "pip cannot install it")
    return python


def _said(words: list[str], what: str) -> str:
    """Return what a command writes; raises BillpError with its last line if it fails."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BillpError(f"{what}: {last_line(done)}")
    return done.stdout


def _figure(rival: Rival, python: Path, measurer: Measurer) -> Figure:
    ours, theirs = list[Cost](), list[Cost]()
    for _ in range(_ROUNDS):
        ours += measurer.turns(rival.yardstick(measurer), rounds=1)[0]
        measurer.told(rival.package)
        theirs.append(_measured(rival, python))
    cost, ratio = typical(theirs), times(theirs, ours)
    if rival.calls:
        return micros(rival.package, "call", cost, ratio, "billp's")
    return rate(rival.package, "messages", cost, 1 / ratio, "billp's")


def _measured(rival: Rival, python: Path) -> Cost:
    words = [str(python), "-I", "-c", _MEASURE + rival.script, str(rival.count)]
    return msgspec.json.decode(_said(words, "it cannot be measured").splitlines()[-1], type=Cost)
