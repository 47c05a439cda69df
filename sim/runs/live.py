"""A run while it is live: in its directory, with a model that may be asked."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing, nullcontext
from dataclasses import dataclass, field
from functools import partial

import msgspec

from agents.models.access import Access, note_attempt
from agents.models.chain import Chain, linked
from agents.models.guards.budget import Budget, Tokens, tokens_of
from agents.models.guards.prefixes import PrefixWatch
from agents.models.providers import EMBEDDED, Door
from agents.models.recorded import Recorded
from agents.models.remote.vectors import ROLE as EMBEDDING
from engine.calls import Answer, Embed
from engine.order import LineFollower
from sim.config.parts import own_metrics
from sim.config.run import RunConfig
from sim.metrics.failures import HEARD as FAILURES
from sim.metrics.failures import FailuresFollower
from sim.metrics.own import HEARD as OWN
from sim.metrics.own import OwnMetrics
from sim.metrics.summary import Effort, Summary, summarise
from sim.metrics.toll import Toll, Tolls
from sim.runs.assembly import Assembly, assemble
from sim.runs.models import certified, digests_of, embedder_for, model_settings, samplings
from sim.runs.past import Past, origin_of
from sim.runs.scenario import Scenario
from sim.runs.sharing import sharing
from sim.runs.watching import Underway, conclude, shown
from sim.runs.workers.beforehand import Beforehand, reckoned
from sim.runs.workers.cluster import Cluster
from sim.runs.workers.frames import Begin
from sim.runs.workers.pool import Pool
from sim.runs.workers.ways import Processes, Staff
from storage.checkpoints import CheckpointFile, forget
from storage.environments import Environment
from storage.journal import CallEnded, Entry
from storage.manifest import write_manifest
from storage.provenance import Process
from storage.runs import Files, RunDirectory
from storage.vectors import every_vector


@dataclass(frozen=True)
class Live:
    """A *scenario* that goes live, kept in *directory*.

    Its other processes have written *before* what they asked: that counts for its budget. *asking*
    is told the episode of every call before it is asked. *processes* work on it, this one last.
    What came of the episodes of its *past* is not made again.
    """

    scenario: Scenario
    directory: RunDirectory
    before: Iterable[Entry] = ()
    asking: Callable[[int], None] = lambda _: None
    processes: Sequence[Process] = ()
    past: Past = field(default_factory=Past)

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
        summary = None
        try:
            summary = await self._concluded(doors, files, recorded, writers)
        finally:
            conclude(self.scenario.beside.views, summary)
        return summary

    async def _concluded(
        self,
        doors: Mapping[str, Door],
        files: Files,
        recorded: Recorded,
        writers: Sequence[LineFollower],
    ) -> Summary:
        observe = partial(note_attempt, files.journal)
        settings = model_settings(self.scenario.config)
        config = self.scenario.config
        ours, beforehand = reckoned(doors) if config.elsewhere else (doors, Beforehand())
        with linked(ours, settings, observe, files.batches) as chain:
            async with sharing(config.share_limits, chain.limiters.values()):
                summary = await self._run_on(chain, files, recorded, writers, beforehand)
        summary = msgspec.structs.replace(
            summary,
            weights=digests_of(doors),
            certificate=certified(config, doors),
            provenance=(*self.processes[:-1], *(one.over() for one in self.processes[-1:])),
        )
        self.directory.write_summary(summary.flat())
        return summary

    async def _run_on(
        self,
        chain: Chain,
        files: Files,
        recorded: Recorded,
        writers: Sequence[LineFollower],
        beforehand: Beforehand,
    ) -> Summary:
        scenario, config = self.scenario, self.scenario.config
        access = self._access(chain, files, recorded)
        # Before anything is asked: calls that go live must not go ahead of those that are recorded.
        earlier = self._note_paid(chain.budget)
        assembly = assemble(
            scenario.course,
            scenario.environment,
            answer=access.answer,
            embed=(embed := embedder_for(config, chain, files.vectors).embed),
            seal=files.journal.seal,
        )
        self._check_in(assembly, access, files.checkpoint)
        failures = FailuresFollower(access.said)
        assembly.bus.follow(FAILURES, failures, essential=True)
        own = OwnMetrics(scenario.environment, own_metrics(config))
        if own.metrics:
            assembly.bus.follow(OWN, own, essential=True)
        underway = Underway(
            config, scenario.environment, self.directory, assembly, access, chain, earlier
        )
        async with self._working(assembly, access.answer, embed, beforehand):
            effort = await self._run(underway, [*writers, files.checkpoint])
        # Once there is a summary the run is over: all that it tells of must be there.
        files.trace.force()
        if files.prompts is not None:
            files.prompts.end()
        summary = summarise(
            assembly.head,
            run=str(self.directory.path),
            environment=scenario.environment.head.name,
            digest=files.trace.digest,
            measured=assembly.metrics.measured(),
            usage=access.usage,
            effort=effort,
            failures=failures.result(),
            listeners=scenario.beside.listeners.results(),
        )
        summary = msgspec.structs.replace(summary, own_metrics=own.result())
        self._save(assembly)
        return summary

    def _working(
        self, assembly: Assembly, answer: Answer, embed: Embed, beforehand: Beforehand
    ) -> AbstractAsyncContextManager[None]:
        """Let workers, if there are to be some, evaluate the episodes."""
        course, config = self.scenario.course, self.scenario.config
        if not config.elsewhere:
            return nullcontext()
        environment = self.scenario.environment
        begin = Begin(course.settings(), environment.head.digest, beforehand.roles)
        staff = _staff(config, environment)
        pool = Pool(staff, config.workers, begin, assembly.memories, answer, embed, beforehand)
        assembly.scheduler.send = pool.send
        return pool.working()

    def _check_in(self, assembly: Assembly, access: Access, checkpoint: CheckpointFile) -> None:
        """Go past what is known of episodes, and keep what comes of the others."""
        assembly.scheduler.known = partial(self.past.known, heard=access.heard)
        # A service's vectors must be asked for again if they were lost: no line tells of them.
        if not self.scenario.config.embedding_model:
            checkpoint.origin = origin_of(assembly.head)
            assembly.scheduler.keep = checkpoint.keep

    def _access(self, chain: Chain, files: Files, recorded: Recorded) -> Access:
        return Access(
            model=chain,
            sampling=samplings(self.scenario.course),
            seed=self.scenario.config.seed,
            recorded=recorded,
            journal=files.journal,
            prompts=files.prompts,
            asking=self.asking,
            keep=chain.keep,
            witnesses=[PrefixWatch()] if _has_service(self.scenario) else [],
        )

    def _note_paid(self, budget: Budget) -> Toll:
        """Count what the run has paid for before; what a cache or a fork's parent said is free."""
        config, tolls = self.scenario.config, Tolls()
        for call in self.before:
            tolls.call(call)
            if isinstance(call, CallEnded) and call.attempts:
                budget.note(config.model_of(call.role), tokens_of(call), role=call.role)
        for vector in every_vector(self.directory.vectors):
            tolls.vector(vector)
            if vector.attempts:
                budget.note(config.embedding_model, Tokens(vector.tokens, 0), role=EMBEDDING)
        return tolls.toll()

    async def _run(self, underway: Underway, writers: Sequence[LineFollower]) -> Effort:
        """Run and return what it took."""
        beside, bus = self.scenario.beside, underway.assembly.bus
        lost = beside.listeners.attach(bus)
        for writer in writers:
            bus.write_to(writer)
        started = time.perf_counter()
        async with shown(beside.views, underway) as dropped:
            await underway.assembly.run()
            seconds = time.perf_counter() - started  # now: views may have last words
        return _effort(underway, seconds, lost | dropped)

    def _save(self, assembly: Assembly) -> None:
        for memory in assembly.memories.values():
            with closing(memory):
                memory.save(self.directory.memory)


def _staff(config: RunConfig, environment: Environment) -> Staff:
    if not config.cluster:
        return Processes()
    return Cluster(config.cluster, config.patience, config.environment, environment)


def _has_service(scenario: Scenario) -> bool:
    config = scenario.config
    named = any(config.model_of(role) != EMBEDDED for role in config.roles)
    return named and scenario.beside.model is None


def _effort(underway: Underway, seconds: float, dropped: dict[str, str]) -> Effort:
    """Return what the run took; others than those who hear the bus were *dropped*."""
    chain, bus = underway.chain, underway.assembly.bus
    slots = chain.statistics()
    return Effort(
        messages=bus.messages,
        seconds=seconds,
        utilization=slots.busy_seconds / (seconds * slots.ceiling),
        cached=chain.hits,
        cost=chain.budget.spent.cost,
        access=underway.toll(),
        dropped={**underway.access.dropped, **bus.dropped(), **dropped},
        missed=bus.missed(),
    )


def listed(directory: RunDirectory, summary: Summary) -> Summary:
    """List the files of a run, which are closed by now, and return its summary with the digest."""
    forget(directory.checkpoint)  # the memories that are saved now hold all of it
    return msgspec.structs.replace(summary, manifest=write_manifest(directory))
