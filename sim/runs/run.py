"""Running: from a configuration to a run directory."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from agents.models.model import ChatModel
from agents.models.recorded import NothingRecorded
from sim.config.run import RunConfig
from sim.config.stages import straight
from sim.metrics.summary import Summary
from sim.runs.assembly import check_runnable
from sim.runs.doors import doors_of
from sim.runs.listeners import NO_LISTENERS, Listeners
from sim.runs.live import Live, listed, written_in
from sim.runs.loop import in_event_loop, plain_errors
from sim.runs.stopping import Begun, stopping
from sim.runs.watching import Onlooker
from storage.datasets import open_environment
from storage.environments import Environment
from storage.runs import RunDirectory, check_free, new_run


def run(
    config: RunConfig | None = None,
    *,
    environment: Environment | None = None,
    model: ChatModel | None = None,
    out: Path | str | None = None,
    listeners: Listeners = NO_LISTENERS,
    views: Sequence[Onlooker] = (),
    uvloop: bool | None = None,
) -> Summary:
    """Run *config* and return what came of it; where an event loop runs, await `run_async`.

    The run directory is *out*, or the next free one in traces/runs. *environment* and *model* are
    made from the configuration unless they are given. Raises ConfigError, DataError, ServiceError
    or RunDirectoryError before anything is written; ServiceError, LawError, FileError or
    InterruptedRunError for what stopped the run, with everything so far on disk.
    """
    begun: list[RunDirectory] = []
    main = partial(
        _run,
        config or RunConfig(),
        environment=environment,
        model=model,
        out=out,
        listeners=listeners,
        views=views,
        begun=begun.append,
    )
    with stopping(begun):
        return in_event_loop(main, twin="run_async", uvloop=uvloop)


async def run_async(
    config: RunConfig | None = None,
    *,
    environment: Environment | None = None,
    model: ChatModel | None = None,
    out: Path | str | None = None,
    listeners: Listeners = NO_LISTENERS,
    views: Sequence[Onlooker] = (),
) -> Summary:
    """Do what `run` does, inside an event loop that runs already: asyncio's or uvloop's."""
    begun: list[RunDirectory] = []
    with stopping(begun), plain_errors():
        return await _run(
            config or RunConfig(),
            environment=environment,
            model=model,
            out=out,
            listeners=listeners,
            views=views,
            begun=begun.append,
        )


async def _run(
    config: RunConfig,
    *,
    environment: Environment | None,
    model: ChatModel | None,
    out: Path | str | None,
    listeners: Listeners,
    views: Sequence[Onlooker],
    begun: Begun,
) -> Summary:
    environment = environment or open_environment(config.environment)
    check_runnable(config, environment)
    if out is not None:
        check_free(Path(out))
    course = straight(config)
    async with doors_of(config, model) as doors:
        name = f"{environment.head.name}-{config.agent}"
        directory = new_run(None if out is None else Path(out), name)
        begun(directory)
        with directory.begun():
            directory.write_config(course.settings())
            live = Live(course, environment, directory, listeners, views)
            with written_in(directory, config) as files:
                summary = await live.run(doors, files, NothingRecorded(), [files.trace])
            return listed(directory, summary)
