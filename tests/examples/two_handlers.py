"""A bus with two handlers, one of which waits for a model: the trace does not say how long."""

import asyncio
from collections import deque
from dataclasses import dataclass

from agents.embeddings import HashingEmbedder
from engine.arrivals import Listed, Visit
from engine.bus import Bus
from engine.calls import Call
from engine.delivery import Delivery
from engine.messages import (
    EpisodeEnded,
    EpisodeStarted,
    MemoryLength,
    Message,
    ModelReplied,
    ReflectionWritten,
    RunStarted,
)
from engine.scheduler import Scheduler


@dataclass(frozen=True)
class Question:
    role: str = "muse"
    step: int = 0


async def muse(delivery: Delivery[EpisodeStarted, str]) -> None:
    reply = await delivery.ask(Question())
    delivery.publish(ReflectionWritten(text=reply.text))


async def leave(delivery: Delivery[EpisodeStarted, str]) -> None:
    delivery.publish(EpisodeEnded(length=0, reward=0.0, reason="quit"), after=5_000)


@dataclass
class Lines:
    text: bytes = b""

    def write(self, lines: bytes) -> None:
        self.text += lines


def opening(visit: Visit, memories: tuple[MemoryLength, ...]) -> EpisodeStarted:
    return EpisodeStarted(
        user=visit.user, session=0, arrival=visit.arrival, history=(), memories=memories
    )


def fold(above: str | None, message: Message) -> str:
    return f"{above or ''}/{type(message).__name__}"


def trace(latency: float) -> bytes:
    async def answer(call: Call, question: Question) -> ModelReplied:
        await asyncio.sleep(latency)
        return ModelReplied(
            step=question.step,
            role=question.role,
            occurrence=call.occurrence,
            request="",
            text=f"user {call.user} came",
            prompt_tokens=0,
            completion_tokens=0,
        )

    bus: Bus[str] = Bus()
    bus.subscribe(EpisodeStarted, muse)
    bus.subscribe(EpisodeStarted, leave)
    lines = Lines()
    bus.write_to(lines)
    scheduler = Scheduler(
        bus=bus,
        arrivals=Listed(deque([Visit(0, 7, 0), Visit(1_000, 8, 0)])),
        memories={},
        answer=answer,
        embed=HashingEmbedder().embed,
        fold=fold,
        opening=opening,
    )
    head = RunStarted(schema=1, agent="two", model="none", environment="", seed=0, settings=())
    asyncio.run(scheduler.run(head))
    return lines.text


fast, slow = trace(latency=0.0), trace(latency=0.05)
print(fast.decode())
assert fast == slow
