"""One part of each kind that billp takes from a package: an explorer, and what goes with it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agents.asking import ask
from agents.making import Agent, AgentMemory, Role, Subscriptions, World
from agents.models.model import ChatReply, ChatRequest, Prompt
from agents.models.providers import Door, Opening, Provider
from agents.settings import Count, RoleSettings
from agents.trajectory import Delivery, Trajectory
from engine.messages import (
    ActionTaken,
    EpisodeSettled,
    Message,
    PlanRequested,
    Recalled,
    UserResponded,
)
from sim.metrics.own import Metric
from sim.world.quitting import Encounter, QuitRule
from storage.catalog import Catalog
from storage.datasets.format import Columns, Format
from storage.datasets.interactions import Description, Interactions, encode, gather
from storage.environments import Environment, SourceFile

# -- an agent with a role, settings and a memory of its own


class ScoutSettings(RoleSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """It looks *ahead* so many places, and recalls so many *memories*."""

    ahead: Count = 1
    memories: Count = 2


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table that the agent adds to a configuration."""

    scout: ScoutSettings = ScoutSettings()


class Landmark(msgspec.Struct, frozen=True, kw_only=True):
    """Where a visit ended."""

    item: int
    steps: int


def _places(trajectory: Trajectory) -> list[tuple[str, ...]]:
    titles = [step.title for step in trajectory.recent(trajectory.length)]
    return [tuple(titles[-1:]) or ("nowhere",)]


def _asked(message: Message) -> tuple[int, tuple[Recalled, ...]] | None:
    return (message.step, message.recalled) if isinstance(message, ActionTaken) else None


LANDMARKS = AgentMemory(
    "landmarks",
    Landmark,
    key_lines=_places,
    says=lambda record: f"item {record.item} after {record.steps} steps",
    keyed_by="the last title",
    asked=_asked,
)


class Scout:
    """Asks a model how far to go on in the catalog."""

    def __init__(self, catalog: Catalog, settings: ScoutSettings) -> None:
        self.catalog, self.settings = catalog, settings

    async def act(self, delivery: Delivery[PlanRequested]) -> None:
        trajectory, step = delivery.trajectory, delivery.message.step
        (place,) = _places(trajectory)
        near = delivery.view(LANDMARKS).recall(await delivery.embed(place), self.settings.memories)
        text = f"At {place[0]}; {len(near)} landmarks."
        prompt = Prompt(role="scout", step=step, system="You scout.", text=text)
        length, _ = await ask(delivery, prompt, int)
        last = trajectory.last.item if trajectory.last is not None else trajectory.user
        item = (last + self.settings.ahead + (length or 0)) % len(self.catalog)
        title = self.catalog.titles[item]
        recalled = tuple(
            Recalled(position=r.position, episode=r.record.episode, distance=r.distance)
            for r in near
        )
        delivery.publish(
            ActionTaken(
                step=step,
                item=item,
                title=title,
                words=title,
                grounding="policy",
                distance=0.0,
                recalled=recalled,
            )
        )

    async def remember(self, delivery: Delivery[EpisodeSettled]) -> None:
        trajectory = delivery.trajectory
        (place,) = _places(trajectory)
        if trajectory.last is not None:
            mark = Landmark(item=trajectory.last.item, steps=trajectory.length)
            delivery.remember(LANDMARKS, [(await delivery.embed(place), mark)])


def _make(world: World[Settings]) -> Subscriptions:
    scout = Scout(world.catalog, world.settings.scout)
    return [(PlanRequested, scout.act), (EpisodeSettled, scout.remember)]


SCOUT = Agent(_make, Settings, (Role("scout", publishes=(ActionTaken,)),), (LANDMARKS,))


# -- a quit rule


class Tired(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Users have had enough after so many *steps*, or one more by chance."""

    steps: Count = 4


def _tired(settings: Tired, at: Encounter) -> str | None:
    enough = settings.steps + at.stream().integer(2)
    return "tired" if at.trajectory.length + 1 >= enough else None


TIRED = QuitRule(_tired, Tired, {"tired": "had enough"})


# -- a way to models


class Oracle:
    """Says how long the question is."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        text = str(len(request.messages[-1].content) + request.seed % 3)
        return ChatReply(text=text, prompt_tokens=9, completion_tokens=1)


@asynccontextmanager
async def _open(opening: Opening) -> AsyncIterator[Door]:
    yield Door(Oracle(), f"acme {' '.join(opening.names)}", "acme")


ACME = Provider(_open)


# -- a data format


def _read(source: Path, _: Columns) -> Interactions:
    """A line for each user: the items that they liked, separated by spaces."""
    content = source.read_bytes()
    lines = [line.split() for line in content.decode().splitlines()]
    pairs = [(f"user {number}", title) for number, line in enumerate(lines) for title in line]
    users, items = (encode(column) for column in zip(*pairs, strict=True))
    return gather(
        users,
        items,
        ((users.positions + items.positions) % 5 + 1).astype(np.float64),
        scale="rating",
        described={title: Description(title, (title[0],)) for title in items.names},
        files=(SourceFile(name=source.name, sha256=sha256(content).hexdigest()),),
    )


LIKES = Format("what each user liked, a line each", _read)


# -- a metric, and a listener


def _spread(trajectory: Trajectory, _: Environment) -> float | None:
    items: Sequence[int] = [step.item for step in trajectory.steps()]
    return float(max(items) - min(items)) if items else None


SPREAD = Metric(_spread, "from the lowest item to the highest", column="Spread")


class Responses:
    """Counts the responses, as they happen."""

    hears, live = UserResponded, True

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, heard: Any) -> None:
        self.count += 1

    def result(self) -> int:
        return self.count
