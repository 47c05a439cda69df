"""Running: from a configuration to a run directory."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import anyio
import msgspec

from agents.embeddings import Embedder, HashingEmbedder
from agents.models.access import Access, note_attempt
from agents.models.chain import Chain, linked, open_models
from agents.models.model import ChatModel
from agents.service_embedder import ServiceEmbedder
from engine.errors import FileError, InterruptedRunError, ServiceError
from sim.assembly import Assembly, assemble, check_runnable, model_settings, samplings
from sim.config import RunConfig
from sim.extensions import NO_EXTENSIONS, Extensions
from sim.loop import in_event_loop
from sim.summary import Effort, Summary, summarise
from storage.datasets import open_environment
from storage.environments import Environment
from storage.files import AppendOnly
from storage.journal import Journal
from storage.prompt_texts import PromptTexts
from storage.runs import RunDirectory, new_run
from storage.traces import TraceWriter
from storage.vectors import VectorFile


@dataclass(frozen=True)
class Underway:
    """A run while it runs, for views."""

    config: RunConfig
    environment: Environment
    directory: RunDirectory
    assembly: Assembly
    access: Access
    chain: Chain


class View(Protocol):
    """Something that shows a run while it runs; cancelled when the run is over."""

    def attach(self, underway: Underway) -> None:
        """Listen to what is to be shown."""
        ...

    async def show(self) -> None:
        """Show it, for ever."""
        ...


def run(
    config: RunConfig | None = None,
    *,
    environment: Environment | None = None,
    model: ChatModel | None = None,
    out: Path | str | None = None,
    extensions: Extensions = NO_EXTENSIONS,
    views: Sequence[View] = (),
    uvloop: bool | None = None,
) -> Summary:
    """Run *config* and return what came of it.

    The run directory is *out*, or the next free one in traces/runs. *environment* and *model* are
    made from the configuration unless they are given. Raises ConfigError, DataError, ServiceError
    or RunDirectoryError before anything is written; ServiceError, LawError, FileError or
    InterruptedRunError for what stopped the run, with everything so far on disk.
    """
    begun: list[RunDirectory] = []
    main = partial(
        run_async,
        config or RunConfig(),
        environment=environment,
        model=model,
        out=out,
        extensions=extensions,
        views=views,
        begun=begun.append,
    )
    with stopping(begun):
        return in_event_loop(main, uvloop=uvloop)


@contextmanager
def stopping(begun: Sequence[RunDirectory]) -> Iterator[None]:
    """Let whatever stops a run that has *begun* say where it is and how it goes on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if not begun:
            raise
        path = begun[0].path
        raise InterruptedRunError(
            f"interrupted; everything so far is in {path}", hint=f"go on with: billp resume {path}"
        ) from interrupt
    except (ServiceError, FileError) as error:
        if begun:
            error.hint = f"{error.hint or 'see to that'}; then: billp resume {begun[0].path}"
        raise


async def run_async(
    config: RunConfig,
    *,
    environment: Environment | None = None,
    model: ChatModel | None = None,
    out: Path | str | None = None,
    extensions: Extensions = NO_EXTENSIONS,
    views: Sequence[View] = (),
    begun: Callable[[RunDirectory], None] = lambda _: None,
) -> Summary:
    """Do what `run` does, inside an event loop that runs already (asyncio's or uvloop's).

    *begun* is told the run directory as soon as there is one.
    """
    environment = environment or open_environment(config.environment)
    check_runnable(config, environment)
    opened = nullcontext(model) if model is not None else open_models(model_settings(config))
    async with opened as service:
        name = f"{environment.head.name}-{config.agent}"
        directory = new_run(None if out is None else Path(out), name)
        begun(directory)
        with directory.locked():
            directory.write_config(msgspec.to_builtins(config))
            with recorded_in(directory, config) as files:
                chain = linked(
                    service, model_settings(config), partial(note_attempt, files.journal)
                )
                return await _live(config, environment, chain, files, extensions, views)


@dataclass(frozen=True)
class Files:
    """What is written while a run runs."""

    directory: RunDirectory
    journal: Journal
    trace: TraceWriter
    prompts: PromptTexts | None


@contextmanager
def recorded_in(directory: RunDirectory, config: RunConfig) -> Iterator[Files]:
    """Open the files of a run; whatever happens, they are closed whole."""
    journal = Journal(directory.journal, config.fsync)
    trace = TraceWriter(AppendOnly(directory.trace, config.fsync))
    prompts = PromptTexts(directory.prompts) if config.prompts else None
    try:
        yield Files(directory, journal, trace, prompts)
    finally:
        journal.close()
        trace.close()
        if prompts is not None:
            prompts.close()


async def _live(
    config: RunConfig,
    environment: Environment,
    chain: Chain,
    files: Files,
    extensions: Extensions,
    views: Sequence[View],
) -> Summary:
    access = Access(
        model=chain,
        sampling=samplings(config),
        seed=config.seed,
        journal=files.journal,
        prompts=files.prompts,
    )
    with embedder_for(config, chain, files.directory) as embedder:
        assembly = assemble(
            config, environment, answer=access.answer, embed=embedder.embed, seal=files.journal.seal
        )
        extensions.attach(assembly.bus)
        assembly.bus.write_to(files.trace)
        underway = Underway(config, environment, files.directory, assembly, access, chain)
        started = time.perf_counter()
        async with _shown(views, underway):
            await assembly.run()
        seconds = time.perf_counter() - started
    busy = chain.limiter.statistics().busy_seconds
    summary = summarise(
        assembly.head,
        run=str(files.directory.path),
        environment=environment.head.name,
        digest=files.trace.digest,
        metrics=assembly.metrics.result(),
        usage=access.usage,
        effort=Effort(
            messages=assembly.bus.messages,
            seconds=seconds,
            utilization=busy / (seconds * config.concurrency),
        ),
        listeners=extensions.results(),
    )
    for memory in assembly.memories.values():
        memory.save(files.directory.memory)
        memory.close()
    files.directory.write_summary(summary.flat())
    return summary


@contextmanager
def embedder_for(
    config: RunConfig, model: ChatModel, directory: RunDirectory
) -> Iterator[Embedder]:
    """Return the embedder that *config* names; what a service says is kept in *directory*."""
    if not config.embedding_model:
        yield HashingEmbedder()
        return
    file = VectorFile(directory.embeddings / "vectors.jsonl", config.fsync)
    try:
        yield ServiceEmbedder(model, config.embedding_model, file)
    finally:
        file.close()


@asynccontextmanager
async def _shown(views: Sequence[View], underway: Underway) -> AsyncIterator[None]:
    for view in views:
        view.attach(underway)
    async with anyio.create_task_group() as beside:
        for view in views:
            beside.start_soon(view.show)
        yield
        beside.cancel_scope.cancel()
