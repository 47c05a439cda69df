"""A recorded run to look into: its tables, its episodes, its calls, its memories."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from os import PathLike, fspath
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
import polars as pl

from agents.making import AgentMemory
from engine.errors import BillpError, ConfigError, RunDirectoryError
from engine.html import note, table
from engine.messages import Envelope, Message, RunEnded, RunStarted
from sim.analysis.memory.saved import Saved
from sim.analysis.visits import Visited, visits_of
from sim.config.run import RunConfig
from sim.config.stages import read_course
from sim.library.episodes import Episode
from sim.library.records import Records
from sim.metrics.metrics import Metrics, MetricsFollower
from sim.metrics.summary import Summary, read_summary
from sim.runs.importing import Imported
from sim.runs.recorded import cast_of, check_head, check_not_imported, is_imported, open_recorded
from sim.runs.remade import remade
from sim.runs.stopping import resuming
from storage.journal import CallEnded, read_journal
from storage.runs import RunDirectory, open_run
from storage.tables import frame_of, plain, schema_of
from storage.trace_tables import read_table
from storage.traces import digest_of, kind_named, read_episode, read_episodes, read_head, whole_size

_END = Envelope[object](episode=None, n=1, cause=0, time=0, message=RunEnded(episodes=0, failed=0))


@dataclass(frozen=True, repr=False)
class Run:
    """The run in a *directory*, finished or not; what is asked for is read then.

    It takes the place of a path: `compare([run, other])`, `replay(run)`. Whatever reads a file
    raises FileError for damage, and RunDirectoryError for what this run does not have.
    """

    directory: RunDirectory

    @classmethod
    def open(cls, path: PathLike[str] | str) -> "Run":
        """Return the run in the directory at *path*; raises RunDirectoryError if it is none."""
        return cls(open_run(Path(path)))

    def __fspath__(self) -> str:
        return fspath(self.directory.path)

    def __repr__(self) -> str:
        return f"Run.open({fspath(self)!r})"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.directory.finished

    # -- what it was and what came of it

    @property
    def head(self) -> RunStarted:
        """The head of its trace: everything that decides its result."""
        return check_head(self.directory.trace)

    @property
    def config(self) -> RunConfig:
        """Its configuration; of a fork that which holds in the end."""
        check_not_imported(self.directory)
        settings, proven = self.directory.read_proven()
        return read_course(settings, proven=proven).config

    @property
    def digest(self) -> str:
        """The sha256 of its trace, as far as it has come."""
        return digest_of(self.directory.trace)

    @property
    def summary(self) -> Summary:
        """What came of it, once it is finished."""
        if self.imported is not None:
            raise RunDirectoryError(f"{self._path}: was imported: see Run.imported for what it was")
        if not self.finished:
            what = f"{self._path}: the run is not finished: it has no summary yet"
            raise RunDirectoryError(what, hint=f"{resuming(self._path)}, or look at Run.metrics")
        return read_summary(self.directory)

    @property
    def metrics(self) -> Metrics:
        """Its metrics; those of the episodes so far if it is not finished."""
        if self.finished or self.imported is not None:
            return self.summary.metrics
        environment = open_recorded(self._path).environment
        follower = MetricsFollower(environment.catalog, environment.factors)
        for episode in self.episodes():
            if episode.whole:
                for envelope in episode.envelopes:
                    follower(cast("Envelope[object]", envelope))
        follower(_END)
        return follower.measured().main

    @property
    def imported(self) -> Imported | None:
        """What an import came to; None for a run of billp's own."""
        if not is_imported(self.directory):
            return None
        try:
            return msgspec.convert(self.directory.read_summary(), Imported)
        except msgspec.ValidationError as error:
            raise RunDirectoryError(f"{self.directory.summary}: {error}") from error

    # -- what happened in it

    def frame(self, kind: str | type[Message]) -> pl.DataFrame:
        """Return the messages of a type, such as "UserResponded", as a table, one a row.

        Columns are episode, n, cause, time (virtual, in milliseconds) and the message's fields.
        Raises ConfigError if there is no such type.
        """
        chosen = kind_named(kind if isinstance(kind, str) else kind.__name__)
        return read_table(self._trace(), chosen)

    def visits(self) -> pl.DataFrame:
        """Return who visited and how it went, or where it stands, as a table, one visit a row.

        Also those that are under way, by the run's journal, and those to come, as far as they are
        known: see `sim.analysis.visits.Visited` for the columns.
        """
        found = visits_of(self.directory)
        rows = map(plain, (*found.ended, *found.open, *found.waiting))
        return frame_of(rows, schema_of(Visited))

    def episodes(self) -> Iterator[Episode]:
        """Yield the episodes in canonical order, one in memory at a time.

        Of a run that has not come to its end those that are written: see `visits` for the others.
        """
        if not (self.finished or self.directory.trace.exists()):
            return
        records = self._records()
        memories = self._memories if whole_size(self.directory.trace) else ()
        for number, envelopes in read_episodes(self._trace(), get_args(Message)):
            yield Episode(number, tuple(envelopes), memories, records.at)

    def episode(self, number: int) -> Episode:
        """Return an episode; raises TraceError if the trace does not hold it (yet: `replayed`)."""
        envelopes = tuple(read_episode(self._trace(), number))
        return Episode(number, envelopes, self._memories, self._records().at)

    def replayed(self, number: int) -> Episode:
        """Return an episode that is not written yet, made again as far as the journal goes.

        So it is what it was at the last call that ended. Takes as long as a replay of all episodes
        before it, and raises what `sim.runs.remade.remade` does.
        """
        made = remade(self._path, number)
        agent = self.config.cast
        return Episode(number, made.envelopes, agent.memories, made.record)

    def calls(self) -> pl.DataFrame:
        """Return the journal as a table: every model call as it ended, in order of arrival.

        Who was asked (role, model), the request's digest, the reply or the error, tokens, and in
        seconds of real time the latency and the wait in it. A fork has those of its parent, too.
        """
        config = self.config
        models = {role: own.model or config.model for role, own in config.roles.items()}
        rows = (
            {**plain(ended), "model": models.get(ended.role, config.model)}
            for ended in read_journal(self.directory.journal).every()
        )
        return frame_of(rows, {"model": pl.String, **schema_of(CallEnded)})

    # -- what was learned in it

    def memory(self, name: str) -> Saved:
        """Return a memory as it was in the end, by its name or that of its records.

        So "actor" and "experiences" are the same. Raises ConfigError if the agent has none of that
        name.
        """
        check_not_imported(self.directory)
        names = _called(self._memories)
        if name not in names:
            raise ConfigError(f"the run has no memory {name!r}", hint=_meant(name, list(names)))
        if not self.finished:
            what = f"{self._path}: the run is not finished: memories are saved at its end"
            raise RunDirectoryError(what, hint=resuming(self._path))
        if not self.directory.memory.exists():
            raise RunDirectoryError(f"{self._path}: the memories of the run were not kept")
        return Saved(self.directory.memory, names[name])

    @property
    def _path(self) -> Path:
        return self.directory.path

    def _trace(self) -> Path:
        """Return where the trace is; raises TraceError for one that is not ours to read."""
        if whole_size(self.directory.trace):
            read_head(self.directory.trace)
        return self.directory.trace

    @property
    def _memories(self) -> tuple[AgentMemory[Any], ...]:
        imported = is_imported(self.directory)
        return () if imported else cast_of(self.directory, self.head).memories

    def _records(self) -> Records:
        kept = self.finished and self.directory.memory.exists()
        memories = self._memories if kept else ()
        return Records({memory.name: Saved(self.directory.memory, memory) for memory in memories})

    # -- in a notebook

    def _repr_html_(self) -> str:
        try:
            return self._shown()
        except BillpError as error:
            return note(str(error))

    def _shown(self) -> str:
        if self.imported is not None:
            facts = msgspec.structs.asdict(self.imported)
            place = note(f"{facts.pop('run')} · digest {facts.pop('digest')}")
            rows = {name: _in_words(fact) for name, fact in facts.items()}
            return table(("imported", ""), rows.items(), words={0, 1}) + place
        if self.finished:
            return self.summary._repr_html_()
        head = self.head
        rows = {"agent": head.agent, "model": head.model, "seed": str(head.seed)}
        next_step = note(f"{self._path} · not finished; go on with: {resuming(self._path)}")
        return table(("so far", ""), rows.items(), words={0, 1}) + next_step


def _in_words(fact: object) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{count} {name}" for name, count in fact.items())
    return str(fact)


def _called(memories: Sequence[AgentMemory[Any]]) -> dict[str, AgentMemory[Any]]:
    """Return memories by what their records are and by their own names, which go first."""
    records = {f"{memory.payload.__name__.lower()}s": memory for memory in memories}
    return records | {memory.name: memory for memory in memories}


def _meant(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(names)}" if names else "its agent has none"
