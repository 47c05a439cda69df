"""Watching a run while it runs: what is shown of it, and by whom."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import anyio

from agents.models.access import Access
from agents.models.chain import Chain
from agents.models.providers import Loading
from engine.attempt import attempt, attempted, log, told_briefly
from engine.errors import ConfigError, LawError
from sim.config.run import RunConfig
from sim.metrics.summary import Summary
from sim.metrics.toll import NO_TOLL, Toll
from sim.runs.assembly import Assembly
from storage.environments import Environment
from storage.parts import Parts, lacking, made_of
from storage.runs import RunDirectory


@dataclass(frozen=True)
class Underway:
    """A run while it runs, for views; *earlier* processes have paid their toll."""

    config: RunConfig
    environment: Environment
    directory: RunDirectory
    assembly: Assembly
    access: Access
    chain: Chain
    earlier: Toll = NO_TOLL

    def toll(self) -> Toll:
        """Return what access to models has taken so far, in all processes of the run."""
        return self.earlier.plus(self.chain)


class Onlooker(Protocol):
    """Something that shows a run while it runs; cancelled when the run is over."""

    def attach(self, underway: Underway) -> None:
        """Listen to what is to be shown."""
        ...

    async def show(self) -> None:
        """Show it, for ever."""
        ...


@runtime_checkable
class Awaiting(Protocol):
    """An onlooker that also shows how models are loaded, before there is a run."""

    def loading(self, name: str, done: int, size: int) -> None:
        """Show that *done* of *size* bytes of a model are read."""
        ...


@runtime_checkable
class Concluding(Protocol):
    """An onlooker that is also told what came of the run."""

    def conclude(self, summary: Summary | None) -> None:
        """Take what came of the run, which is over; None if it was stopped."""
        ...


VIEWS: Parts[object] = Parts(
    "view",
    "billp.views",
    object,
    {
        "progress": "sim.views.progress:ProgressView",
        "log": "sim.views.logging:LogView",
        "otel": "sim.views.telemetry:TelemetryView",
        "prometheus": "sim.views.prometheus:PrometheusView",
        "tensorboard": "sim.views.tensorboard:tensorboard_view",
        "mlflow": "sim.views.mlflow:mlflow_view",
        "wandb": "sim.views.wandb:wandb_view",
    },
)
"""What shows a run while it runs: classes made without arguments."""

EXTRAS = frozenset({"otel", "prometheus", "tensorboard", "mlflow", "wandb"})
"""Views of ours that need an extra, which has their name."""


def load_views(names: Iterable[str]) -> list[Onlooker]:
    """Return the views called *names*; raises ConfigError if one cannot be made."""
    return [_load(name) for name in names]


def _load(name: str) -> Onlooker:
    try:
        view: Onlooker = made_of(VIEWS, name)
    except ConfigError as error:
        missing = error.__cause__
        if name not in EXTRAS or not isinstance(missing, ModuleNotFoundError):
            raise
        raise lacking(name, f"the view {name}", missing) from error
    return view


@asynccontextmanager
async def shown(views: Sequence[Onlooker], underway: Underway) -> AsyncIterator[dict[str, str]]:
    """Let *views* show a run; one that raises shows nothing more, and the run goes on.

    Yields which have raised so far, by name, and what; who listens for them is called by that name.
    """
    dropped: dict[str, str] = {}
    whole = False
    async with anyio.create_task_group() as beside:
        for view in views:
            if _attached(view, underway, dropped):
                beside.start_soon(_show, view, dropped)
        yield dropped
        whole = True
        beside.cancel_scope.cancel()
    if not whole:  # a task group takes a CancelledError of its tasks for its own
        raise LawError("a view was cancelled, but not by the run")


def awaiting(views: Sequence[Onlooker]) -> Loading:
    """Return who tells those of *views* that show it how models are loaded."""
    there = [view for view in views if isinstance(view, Awaiting)]

    def tell(name: str, done: int, size: int) -> None:
        for view in there[:]:
            error = attempted(partial(view.loading, name, done, size))[1]
            if error is not None:
                log("error", "view dropped", error, view=type(view).__name__)
                there.remove(view)

    return tell


def conclude(views: Sequence[Onlooker], summary: Summary | None) -> None:
    """Tell those of *views* that want to know what came of a run; None if it was stopped.

    There is a summary already: of who raises now, none can tell.
    """
    for view in views:
        if isinstance(view, Concluding):
            _fine(view, attempted(partial(view.conclude, summary))[1], {})


def _attached(view: Onlooker, underway: Underway, dropped: dict[str, str]) -> bool:
    with underway.assembly.bus.known_as(type(view).__name__):
        _, error = attempted(partial(view.attach, underway))
    return _fine(view, error, dropped)


async def _show(view: Onlooker, dropped: dict[str, str]) -> None:
    _fine(view, await attempt(lambda _: view.show(), None), dropped)


def _fine(view: Onlooker, error: BaseException | None, dropped: dict[str, str]) -> bool:
    """Tell whether a view raised nothing, and the user and *dropped* if it did."""
    if error is not None:
        name = type(view).__name__
        dropped[name] = told_briefly(error)
        log("error", "view dropped", error, view=name)
    return error is None
