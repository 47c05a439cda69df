"""Whether a run directory is whole: everything in it is read and compared, offline.

Checksums, those of lines and those of whole files in the manifest, tell what was changed by chance,
or by somebody who did not make them again. Who did is found only as far as the files explain each
other; each check says what of its file nothing else explains. Whether the run comes out the same is
for `sim.runs.replay`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import cast

import msgspec

from engine.errors import BillpError, FileError, JournalError
from engine.messages import Envelope, Message, RunStarted
from engine.text import counted
from sim.config.parts import own_metrics
from sim.config.run import RunConfig
from sim.config.stages import Course, read_course
from sim.metrics.failures import HEARD as FAILURES
from sim.metrics.failures import FailuresFollower
from sim.metrics.metrics import MetricsFollower
from sim.metrics.own import HEARD as OWN
from sim.metrics.own import OwnMetrics
from sim.runs.importing import Retold, check_retold
from sim.runs.recorded import check_environment, is_imported
from sim.verification.files import check_digest, check_files, look_around
from sim.verification.memories import Written, check_memories
from sim.verification.prompts import Asked, check_prompts
from sim.verification.reading import Hearer, TraceReader
from sim.verification.settings import check_import, check_settings
from sim.verification.summary import OF_THE_PROCESS, Metering, Reckoned, Spending, check_summary
from storage.batches import read_batches
from storage.datasets import open_environment
from storage.environments import Environment
from storage.journal import Identity, read_journal
from storage.manifest import Inventory, read_manifest
from storage.runs import RunDirectory, open_run
from storage.traces import read_head, whole_size
from storage.vectors import count_vectors, every_vector

CAVEAT = (
    "No checksum tells who made it: who makes all of them again is found only as far as the\n"
    "files explain each other. Compare digest and manifest with those that you were told."
)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was looked at, and how it was found; *fault* is empty if all is well.

    *unexplained* is what nothing but the manifest covers. What was not *checked* says why.
    """

    name: str
    found: str
    fault: str = ""
    unexplained: tuple[str, ...] = ()
    checked: bool = True


def verify(run: PathLike[str] | str, *, environment: str | None = None) -> tuple[Check, ...]:
    """Look at all that a run directory holds; raises RunDirectoryError if it is none."""
    return tuple(_checks(open_run(Path(run)), environment))


def _checks(directory: RunDirectory, environment: str | None) -> Iterator[Check]:
    try:
        inventory = look_around(directory)
    except FileError as error:  # nothing is read that may lead elsewhere, or has no bound
        yield Check(name="files", found="", fault=str(error))
        return
    yield _checked("files", lambda: check_files(directory, inventory))
    if is_imported(directory):
        yield from _Imported(directory).checks()
    else:
        yield from _Recorded(directory, environment).checks(inventory)
    if directory.finished:
        yield _checked("digest", lambda: check_digest(directory, inventory))
    if directory.manifest.exists():
        yield _checked("manifest", lambda: read_manifest(directory)[1])


def _checked(name: str, look: Callable[[], str], *unexplained: str) -> Check:
    try:
        return Check(name=name, found=look(), unexplained=unexplained)
    except BillpError as error:
        return Check(name=name, found="", fault=str(error))
    except RecursionError:
        return Check(name=name, found="", fault="something in it is nested too deep to be read")


def _unchecked(name: str, why: str) -> Check:
    return Check(name=name, found=f"not checked: {why}", checked=False)


@dataclass(eq=False)
class _Imported:
    """Looks at a run that was imported: it has no journal, no environment and no memory."""

    directory: RunDirectory

    def checks(self) -> Iterator[Check]:
        """Look at it."""
        retold = Retold()
        reader = TraceReader(self.directory.trace, hearers=[retold])
        finished = self.directory.finished
        yield _checked("settings", lambda: check_import(self.directory), "source")
        yield Check(name="environment", found="not known: the run was imported")
        yield Check(name="journal", found="none: the run was imported")
        trace = _checked("trace", lambda: reader.read(finished=finished))
        yield trace
        if finished and not trace.fault:
            look = partial(check_retold, self.directory, retold)
            yield _checked("summary", look, "run", "unreadable")


@dataclass(eq=False)
class _Recorded:
    """Looks at a run of ours; what one check finds the later ones use."""

    directory: RunDirectory
    given: str | None
    course: Course | None = None
    environment: Environment | None = None
    asked: Asked | None = None
    spending: Spending | None = None
    metering: Metering | None = None
    own: OwnMetrics | None = None
    written: Written = field(default_factory=Written)
    said: dict[Identity, str] = field(default_factory=dict)
    failures: FailuresFollower = field(init=False)
    reader: TraceReader = field(init=False)

    def __post_init__(self) -> None:
        self.failures = FailuresFollower(self.said)
        self.reader = TraceReader(self.directory.trace)

    def checks(self, inventory: Inventory) -> Iterator[Check]:
        """Look at everything, one after the other."""
        finished = self.directory.finished
        yield _checked(
            "settings", self._settings, "those that leave no mark on a trace", "provenance"
        )
        yield _checked("environment", self._environment)
        times = ("finish", "latency", "wait", "attempts", "said", "attempts that failed")
        yield _checked("journal", self._journal, *times)
        if self._has_vectors():
            yield _checked("vectors", self._vectors, "of what text each is", "attempts")
        if self.directory.batches.exists():
            yield _checked("batches", self._batches, "which calls went in which")
        made = "what was made of the replies (billp replay tells)"
        metering = [] if self.metering is None else [self.metering]
        self.reader.hearers = [self.written, self._note_failure, *metering, *self._own_metrics()]
        trace = _checked("trace", lambda: self.reader.read(finished=finished), made)
        yield trace
        yield self._prompts()
        if finished and not trace.fault:  # else it was not read to its end
            yield _checked("calls", self._calls)
            yield from self._outcome(self.reader.head, inventory)

    def _settings(self) -> str:
        self.course = self._course()
        config = self.course.config
        self.written.memories = {one.name: one for one in config.cast.memories}
        self.written.settings = config.agent_settings
        return check_settings(self.directory, self.course)

    def _course(self) -> Course:
        settings, proven = self.directory.read_proven()
        return read_course(settings, proven=proven)

    def _environment(self) -> str:
        config = (self.course or self._course()).config
        name = self.given or config.environment
        traced = whole_size(self.directory.trace)
        head = read_head(self.directory.trace) if traced else None
        environment = open_environment(name, "" if head is None else head.environment)
        if head is not None:
            check_environment(head, environment, name)
        self.environment = environment
        self.metering = Metering(
            MetricsFollower(environment.catalog, environment.factors, config.sessions)
        )
        return f"{name}, {environment.head.digest[:12]}"

    def _own_metrics(self) -> Iterator[Hearer]:
        """Yield what measures the user's own metrics, if there are any."""
        metrics = own_metrics(self.course.config) if self.course is not None else {}
        if self.environment is not None and metrics:
            self.own = OwnMetrics(self.environment, metrics)
            yield self._measure

    def _measure(self, envelope: Envelope[Message]) -> None:
        if self.own is not None and isinstance(envelope.message, OWN):
            self.own(envelope)

    def _journal(self) -> str:
        path, recording = self.directory.journal, read_journal(self.directory.journal)
        self.reader.recording = recording
        config = RunConfig() if self.course is None else self.course.config
        asked, spending, ends = Asked(config.seed), Spending(config), 0
        for ended in recording.every():
            asked(ended)
            spending.call(ended)
            if ended.error is not None:
                self.said[ended.identity] = ended.said
            ends += 1
        if self.course is not None:
            self.asked, self.spending = asked, spending
        if recording.torn and self.directory.finished:
            raise JournalError(f"{path}: ends within a line: the run had come to its end")
        if ends > len(recording) and not (recording.retried or recording.forked):
            raise JournalError(f"{path}: {ends - len(recording):,} calls ended more than once")
        torn = ", and a torn last line" if recording.torn else ""
        return counted(len(recording), "call") + torn

    def _has_vectors(self) -> bool:
        """Tell whether there are vectors of a service, or must be."""
        needed = self.course is not None and bool(self.course.config.embedding_model)
        return self.directory.vectors.exists() or (self.directory.finished and needed)

    def _vectors(self) -> str:
        path = self.directory.vectors
        if not path.exists():
            raise FileError(f"{path}: there is no such file")
        count = count_vectors(path)
        if self.spending is not None:
            for entry in every_vector(path):
                self.spending.vector(entry)
        torn = path.stat().st_size > count.size
        if torn and self.directory.finished:  # no run ends without its last line
            raise FileError(f"{path}: ends within a line: the run had come to its end")
        what = f"{count.texts - count.failed:,} texts, {count.failed:,} without a vector"
        return what + (", and a torn last line" if torn else "")

    def _batches(self) -> str:
        path = self.directory.batches
        sent, size = read_batches(path)
        torn = path.stat().st_size > size
        if torn and self.directory.finished:
            raise FileError(f"{path}: ends within a line: the run had come to its end")
        return counted(len(sent), "batch") + (", and a torn last line" if torn else "")

    def _prompts(self) -> Check:
        path, course, asked = self.directory.prompts, self.course, self.asked
        if course is None or asked is None:
            return _unchecked("prompts", "settings or journal cannot be read")
        if not (path.exists() or course.config.prompts):
            return Check(name="prompts", found="not kept")
        finished = self.directory.finished
        return _checked("prompts", lambda: check_prompts(path, asked, course, finished=finished))

    def _calls(self) -> str:
        """Compare how many calls there are: that each of the trace is journaled was seen."""
        recording, traced = self.reader.recording, self.reader.usage.calls
        if recording is None:
            return f"{traced:,}"  # what is wrong with the journal is said
        spare = len(recording) - traced
        if spare and not (recording.retried or recording.forked):
            raise JournalError(f"{self.directory.journal}: {spare:,} calls are not in the trace")
        beside = f"; {spare:,} more in the journal, from before" if spare else ""
        return f"{traced:,}, as in the journal{beside}"

    def _note_failure(self, envelope: Envelope[Message]) -> None:
        if isinstance(envelope.message, FAILURES):
            self.failures(cast("Envelope[object]", envelope))

    def _outcome(self, head: RunStarted | None, inventory: Inventory) -> Iterator[Check]:
        if head is None or self.spending is None:
            yield _unchecked("memory", "settings, journal or trace cannot be read")
            yield _unchecked("summary", "settings, journal or trace cannot be read")
            return
        agent, memory = head.agent, self.directory.memory
        look = partial(check_memories, memory, agent, self.written)
        yield _checked("memory", look, "keys", "records that no message tells of")
        reckoned = Reckoned(
            head=head,
            digest=inventory.files[self.directory.trace.name].sha256,
            usage=self.reader.usage,
            messages=self.reader.envelopes,
            cost=self.spending.cost,
            environment=self.environment,
            measured=None if self.metering is None else self.metering.measured(),
            failures=self.failures.result(),
            own_metrics={} if self.own is None else self.own.result(),
        )
        look_at = partial(check_summary, self.directory, reckoned)
        yield _checked("summary", look_at, *OF_THE_PROCESS)
        if self.environment is None:
            yield _unchecked("metrics", "the environment is not at hand")
