"""What an agent knows of an episode: the chain of causes above its message, folded."""

from collections.abc import Iterator
from functools import partial
from typing import Any, TypeAlias, TypeVar

import msgspec

from engine.delivery import Delivery as KernelDelivery
from engine.episode import Fold
from engine.messages import (
    ActionTaken,
    EpisodeStarted,
    Message,
    PlanMade,
    PlanRequested,
    Rated,
    UserResponded,
    number,
)
from storage.catalog import Catalog


class Step(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A finished step: what was thought and recommended, and what the user answered."""

    number: int
    thought: str
    item: int
    title: str
    categories: tuple[str, ...]
    reward: float
    left: bool
    previous: "Step | None"


class Trajectory(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An episode so far: linked, so that taking a step costs the same at any length.

    *step* is the number of the step that is open; *thought* and *action* are what was made of it
    so far.
    """

    user: int
    session: int
    history: tuple[Rated, ...]
    step: int = 0
    thought: str = ""
    action: ActionTaken | None = None
    last: Step | None = None

    def steps(self) -> Iterator[Step]:
        """Yield the finished steps, newest first."""
        step = self.last
        while step is not None:
            yield step
            step = step.previous

    def recent(self, count: int) -> list[Step]:
        """Return the last *count* finished steps, oldest first."""
        steps: list[Step] = []
        step = self.last
        while step is not None and len(steps) < count:
            steps.append(step)
            step = step.previous
        steps.reverse()
        return steps

    @property
    def length(self) -> int:
        """How many steps are finished."""
        return 0 if self.last is None else self.last.number + 1


M = TypeVar("M", bound=msgspec.Struct)
Delivery: TypeAlias = KernelDelivery[M, Trajectory]
"""A delivery as the agents and the user get it."""


def folding(catalog: Catalog) -> Fold:
    """Return the fold that makes a `Trajectory` of the messages of a chain of causes."""
    return partial(_fold, catalog)


def _fold(catalog: Catalog, above: Trajectory | None, message: Message) -> Trajectory:
    if above is None:
        return _start(message)
    match message:
        case PlanRequested():
            return _extend(above, step=message.step, thought="", action=None)
        case PlanMade():
            return _extend(above, thought=message.thought)
        case ActionTaken():
            return _extend(above, action=message)
        case UserResponded():
            return _extend(above, last=_finish(catalog, above, message))
    return above


def _start(message: Message) -> Trajectory:
    if not isinstance(message, EpisodeStarted):
        raise TypeError(f"an episode must begin with EpisodeStarted, got {message!r}")
    return Trajectory(user=message.user, session=message.session, history=message.history)


def _extend(above: Trajectory, **changes: Any) -> Trajectory:
    return msgspec.structs.replace(above, **changes)


def _finish(catalog: Catalog, above: Trajectory, message: UserResponded) -> Step:
    action = above.action
    if action is None:
        raise TypeError(f"the user responded to nothing at step {message.step}")
    return Step(
        number=message.step,
        thought=above.thought,
        item=action.item,
        title=action.title,
        categories=catalog.categories[action.item],
        reward=number(message.reward),
        left=message.left,
        previous=above.last,
    )


def task_lines(trajectory: Trajectory) -> tuple[str, ...]:
    """Return the text whose likeness tells which reflections matter: what the user had before."""
    return tuple(rated.title for rated in trajectory.history)


def task_keys(trajectory: Trajectory) -> list[tuple[str, ...]]:
    """Return the lines of the one key that an episode has by its task."""
    return [task_lines(trajectory)]
