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
from engine.attempt import attempt, attempted, log
from engine.errors import ConfigError, LawError
from sim.config.run import RunConfig
from sim.metrics.summary import Summary
from sim.runs.assembly import Assembly
from storage.environments import Environment
from storage.parts import Parts, made_of
from storage.runs import RunDirectory


@dataclass(frozen=True)
class Underway:
    """A run while it runs, for views."""

    config: RunConfig
    environment: Environment
    directory: RunDirectory
    assembly: Assembly
    access: Access
    chain: Chain


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
        what = f"the view {name} needs the extra {name}: {missing}"
        raise ConfigError(what, hint=f"pip install 'billp[{name}]'") from error
    return view


@asynccontextmanager
async def shown(views: Sequence[Onlooker], underway: Underway) -> AsyncIterator[None]:
    """Let *views* show a run; one that raises shows nothing more, and the run goes on."""
    attached = [view for view in views if _fine(view, attempted(partial(view.attach, underway))[1])]
    whole = False
    async with anyio.create_task_group() as beside:
        for view in attached:
            beside.start_soon(_show, view)
        yield
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
                log("error", "view dropped", view=type(view).__name__, exc_info=error)
                there.remove(view)

    return tell


def conclude(views: Sequence[Onlooker], summary: Summary | None) -> None:
    """Tell those of *views* that want to know what came of a run; None if it was stopped."""
    for view in views:
        if isinstance(view, Concluding):
            _fine(view, attempted(partial(view.conclude, summary))[1])


async def _show(view: Onlooker) -> None:
    _fine(view, await attempt(lambda _: view.show(), None))


def _fine(view: Onlooker, error: BaseException | None) -> bool:
    """Tell whether a view raised nothing, and the user if it did."""
    if error is not None:
        name = type(view).__name__
        log("error", "view dropped", view=name, exc_info=error)
    return error is None
