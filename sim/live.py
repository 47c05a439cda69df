"""A run while it is live: in its directory, with a model that may be asked."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Protocol

import anyio
import msgspec
import structlog

from agents.embeddings import Embedder, HashingEmbedder
from agents.models.access import Access, note_attempt
from agents.models.budget import Budget
from agents.models.chain import Chain, Door, linked, one_door, open_models, plain_name
from agents.models.embedding_model import ROLE as EMBEDDING
from agents.models.model import ChatModel
from agents.models.recorded import Recorded
from agents.service_embedder import ServiceEmbedder
from engine.attempt import attempt, attempted
from engine.errors import BudgetError, FileError, InterruptedRunError, LawError, ServiceError
from engine.order import LineFollower
from sim.assembly import Assembly, assemble, model_settings, samplings
from sim.config import RunConfig
from sim.course import Course
from sim.extensions import NO_EXTENSIONS, Extensions
from sim.failures import HEARD as FAILURES
from sim.failures import FailuresFollower
from sim.summary import Effort, Summary, summarise
from storage.environments import Environment
from storage.files import AppendOnly, HeldBack
from storage.journal import CallEnded, Journal
from storage.manifest import write_manifest
from storage.prompt_texts import PromptTexts
from storage.runs import RunDirectory
from storage.traces import TraceWriter, survey
from storage.vectors import VectorFile, every_vector

Begun = Callable[[RunDirectory], None]
"""Is told the directory of a run as soon as there is one."""


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


@dataclass(frozen=True)
class Files:
    """What is written while a run runs."""

    journal: Journal
    vectors: VectorFile | None
    trace: TraceWriter
    prompts: PromptTexts | None


@contextmanager
def written_in(
    directory: RunDirectory, config: RunConfig, *, journaled: int = 0, forgotten: int = 0
) -> Iterator[Files]:
    """Open the files of a run, after *journaled* bytes of its journal and all whole lines.

    Vectors that failed within the first *forgotten* bytes of their file are asked for again. No
    line comes to the trace before the replies and vectors that it depends on are on the disk.
    Whatever happens, all files are closed whole.
    """
    with ExitStack() as opened:
        journal = opened.enter_context(closing(Journal(directory.journal, config.fsync, journaled)))
        before, vectors = [journal.file], None
        if config.embedding_model:
            vectors = VectorFile(directory.vectors, config.fsync, forgotten)
            opened.enter_context(closing(vectors))
            before.append(vectors.file)
        file = AppendOnly(directory.trace, config.fsync, survey(directory.trace).size)
        trace = opened.enter_context(closing(TraceWriter(HeldBack(file, before))))
        prompts = PromptTexts(directory.prompts, resumed=journaled > 0) if config.prompts else None
        if prompts is not None:
            opened.enter_context(closing(prompts))
        yield Files(journal, vectors, trace, prompts)


@dataclass(frozen=True)
class Live:
    """A run that goes live: *course* in *environment*, kept in *directory*.

    Its other processes have *paid* for some calls: those count for its budget. *asking* is told the
    episode of every call before it is asked.
    """

    course: Course
    environment: Environment
    directory: RunDirectory
    extensions: Extensions = NO_EXTENSIONS
    views: Sequence[View] = ()
    paid: Iterable[CallEnded] = ()
    asking: Callable[[int], None] = lambda _: None

    async def run(
        self,
        doors: Mapping[str, Door],
        files: Files,
        recorded: Recorded,
        writers: Sequence[LineFollower],
    ) -> Summary:
        """Run to the end and return what came of it.

        *recorded* calls are not asked again; *writers* take the encoded run, the trace's among
        them.
        """
        observe = partial(note_attempt, files.journal)
        with linked(doors, model_settings(self.course.config), observe) as chain:
            return await self._run_on(chain, files, recorded, writers)

    async def _run_on(
        self, chain: Chain, files: Files, recorded: Recorded, writers: Sequence[LineFollower]
    ) -> Summary:
        config = self.course.config
        access = Access(
            model=chain,
            sampling=samplings(self.course),
            seed=config.seed,
            recorded=recorded,
            journal=files.journal,
            prompts=files.prompts,
            asking=self.asking,
            keep=chain.keep,
        )
        # Before anything is asked: calls that go live must not go ahead of those that are recorded.
        self._note_paid(chain.budget)
        assembly = assemble(
            self.course,
            self.environment,
            answer=access.answer,
            embed=embedder_for(config, chain, files.vectors).embed,
            seal=files.journal.seal,
        )
        failures = FailuresFollower(access.said)
        assembly.bus.follow(FAILURES, failures, essential=True)
        seconds = await self._run(assembly, access, chain, writers)
        # Once there is a summary the run is over: all that it tells of must be there.
        files.trace.force()
        if files.prompts is not None:
            files.prompts.end()
        slots = chain.statistics()
        effort = Effort(
            messages=assembly.bus.messages,
            seconds=seconds,
            utilization=slots.busy_seconds / (seconds * slots.ceiling),
            cached=chain.hits,
            cost=chain.budget.spent.cost,
        )
        summary = summarise(
            assembly.head,
            run=str(self.directory.path),
            environment=self.environment.head.name,
            digest=files.trace.digest,
            measured=assembly.metrics.measured(),
            usage=access.usage,
            effort=effort,
            failures=failures.result(),
            listeners=self.extensions.results(),
        )
        self._finish(assembly, summary)
        return summary

    def _note_paid(self, budget: Budget) -> None:
        """Count what the run has paid for before; what a cache or a fork's parent said is free."""
        config = self.course.config
        for ended in self.paid:
            if ended.attempts:
                model = plain_name(config.roles[ended.role].model or config.model)
                budget.note(model, ended.prompt_tokens, ended.completion_tokens)
        for entry in every_vector(self.directory.vectors):
            if entry.attempts:
                budget.note(config.embedding_model, entry.tokens, 0)

    async def _run(
        self, assembly: Assembly, access: Access, chain: Chain, writers: Sequence[LineFollower]
    ) -> float:
        """Run and return the seconds that it took."""
        self.extensions.attach(assembly.bus)
        for writer in writers:
            assembly.bus.write_to(writer)
        underway = Underway(
            self.course.config, self.environment, self.directory, assembly, access, chain
        )
        started = time.perf_counter()
        async with _shown(self.views, underway):
            await assembly.run()
        return time.perf_counter() - started

    def _finish(self, assembly: Assembly, summary: Summary) -> None:
        for memory in assembly.memories.values():
            with closing(memory):
                memory.save(self.directory.memory)
        self.directory.write_summary(summary.flat())


def listed(directory: RunDirectory, summary: Summary) -> Summary:
    """List the files of a run, which are closed by now, and return its summary with the digest."""
    return msgspec.structs.replace(summary, manifest=write_manifest(directory))


def embedder_for(config: RunConfig, chain: Chain, vectors: VectorFile | None) -> Embedder:
    """Return the embedder that *config* names; what a service says is kept in *vectors*."""
    if vectors is None:
        return HashingEmbedder()
    return ServiceEmbedder(chain, config.embedding_model, vectors, chain.keep)


@asynccontextmanager
async def doors_of(config: RunConfig, model: ChatModel | None) -> AsyncIterator[Mapping[str, Door]]:
    """Open the models that *config* names; or let all calls go to *model*, if that is given."""
    if model is not None:
        yield one_door(model, (*config.roles, EMBEDDING))
        return
    async with open_models(model_settings(config)) as doors:
        yield doors


@asynccontextmanager
async def _shown(views: Sequence[View], underway: Underway) -> AsyncIterator[None]:
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


async def _show(view: View) -> None:
    _fine(view, await attempt(lambda _: view.show(), None))


def _fine(view: View, error: BaseException | None) -> bool:
    """Tell whether a view raised nothing, and the user if it did."""
    if error is not None:
        name = type(view).__name__
        structlog.get_logger().error("view dropped", view=name, exc_info=error)
    return error is None


@contextmanager
def stopping(begun: Sequence[RunDirectory]) -> Iterator[None]:
    """Let whatever stops a run that has *begun* say where it is and how it goes on."""
    try:
        yield
    except (KeyboardInterrupt, MemoryError) as error:
        if not begun:
            raise
        path = begun[0].path
        what = "memory ran out" if isinstance(error, MemoryError) else "interrupted"
        raise InterruptedRunError(
            f"{what}; everything so far is in {path}", hint=f"go on with: {resuming(path)}"
        ) from error
    except BudgetError as error:
        if begun:
            error.hint = f"allow more: {resuming(begun[0].path)} --set {error.setting}=…"
        raise
    except (ServiceError, FileError) as error:
        if begun:
            error.hint = f"{error.hint or 'see to that'}; then: {resuming(begun[0].path)}"
        raise


def resuming(path: Path) -> str:
    """Return the command that goes on with the run at *path*, as a shell wants it."""
    return f"billp resume {quote(str(path))}"
